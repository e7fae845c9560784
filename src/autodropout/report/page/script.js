"use strict";

// Values under the pointer.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function showTip(event) {
  const text = event.target.dataset?.tip;
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const place = event.target.getBoundingClientRect();
  const left = place.x + place.width / 2 - tip.offsetWidth / 2;
  const most = document.documentElement.clientWidth - tip.offsetWidth - 4;
  tip.style.left = `${scrollX + Math.max(4, Math.min(left, most))}px`;
  tip.style.top = `${scrollY + place.y - tip.offsetHeight - 6}px`;
}

document.addEventListener("pointerover", showTip);
document.addEventListener("pointerdown", showTip);

// Tables sort by a click on a heading; the order survives a reload.
function order(cell) {
  const text = cell.dataset.order ?? cell.textContent;
  const value = Number(text.replaceAll(",", ""));
  return text === "-" ? null : Number.isNaN(value) ? text : value;
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b));
}

function sort(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [order(row.cells[column]), row]);
  const sign = descending ? -1 : 1;
  rows.sort(([a], [b]) => (a === null || b === null ? compare(a, b) : sign * compare(a, b)));
  body.append(...rows.map(([, row]) => row));
  for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const [place, table] of document.querySelectorAll("table.sortable").entries()) {
  const key = `autodropout-sort-${place}`;
  for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
    heading.firstElementChild.addEventListener("click", () => {
      const sorted = heading.getAttribute("aria-sort");
      const descending = sorted ? sorted === "ascending" : heading.className === "num";
      sort(table, column, descending);
      sessionStorage.setItem(key, JSON.stringify([column, descending]));
    });
  }
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
  if (kept && kept[0] < table.tHead.rows[0].cells.length) sort(table, ...kept);
}

// While the search runs the page loads itself again, unless the reader is selecting something.
const seconds = Number(document.body.dataset.refresh);
if (seconds) {
  setInterval(() => {
    if (String(getSelection()) === "") location.reload();
  }, 1000 * seconds);
}
