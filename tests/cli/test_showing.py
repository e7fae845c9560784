import json

import pytest

from autodropout.cli import main
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy

POLICY = Policy(
    {"a": ConvPattern(height=2, width=2), "role:ffn": TokenPattern(size=2, stride=2, rate=0.5)}, "ramp"
)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    POLICY.save(tmp_path / "p.json")
    return str(tmp_path / "p.json")


def test_it_draws_each_site(capsys, path):
    assert main(["show", path]) == 0
    text = capsys.readouterr().out
    assert "a   drops 1.38% of a map of 16 x 16" in text
    assert "role:ffn   drops 25% of 8 channels x 32 tokens" in text
    assert "Strength over training: ramp." in text
    assert "Drawn on maps of 16x16; drop rates on yours may differ: give --size, or --task." in text


def test_size_and_seed(capsys, path):
    def shown(*arguments):
        assert main(["show", path, *arguments]) == 0
        return capsys.readouterr().out

    assert "a map of 4 x 6" in shown("--size", "4x6")
    assert "on yours" in shown()
    assert "on yours" not in shown("--size", "16x16")
    assert shown("--seed", "1") == shown("--seed", "1") != shown("--seed", "2")


def test_sequences_have_no_maps(capsys, tmp_path):
    Policy({"role:ffn": TokenPattern(size=1, rate=0.5)}).save(tmp_path / "words.json")
    assert main(["show", str(tmp_path / "words.json")]) == 0
    assert "on yours" not in capsys.readouterr().out


def test_a_task_knows_its_maps(capsys, tmp_path, toy):
    path = tmp_path / "toy.json"
    Policy({"a": ConvPattern(height=2, width=2)}).save(path)
    assert main(["show", str(path), "--task", "toy"]) == 0
    assert "a map of 4 x 4" in capsys.readouterr().out


def test_a_policy_for_another_model_is_not_drawn_as_the_tasks(capsys, path, toy):
    assert main(["show", path, "--task", "toy"]) == 2
    assert "the policy's key 'role:ffn' matches nothing" in capsys.readouterr().err


def test_json_for_a_machine(capsys, path):
    assert main(["show", path, "--json", "--size", "8x8"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["key"] == POLICY.key
    assert document["schedule"] == "ramp"
    assert document["sites"][0] == {
        "site": "a",
        "pattern": "one 2 x 2 tile; one draw for all channels",
        "of": "a map of 8 x 8",
        "drop_rate": POLICY.sites["a"].drop_rate(8, 8),
    }


def test_a_picture(path, tmp_path):
    assert main(["show", path, "--png", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input(capsys, path, tmp_path, toy):
    def error(*arguments):
        assert main(["show", *arguments]) == 2
        text = capsys.readouterr().err
        assert text.startswith("error: ")
        assert text.count("\n") == 1
        return text[7:-1]

    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    missing, folder = str(tmp_path / "no.json"), str(tmp_path)
    assert error(missing) == (
        f"{missing} cannot be read (No such file or directory); name a policy's JSON file, or one of "
        "autodropout zoo"
    )
    assert error(folder).startswith(f"{folder} is a directory; expected a policy's JSON file, such as ")
    assert "bad.json: not a policy: malformed JSON" in error(str(tmp_path / "bad.json"))
    assert "binary.json: " in error(str(tmp_path / "binary.json"))
    for size in ("0x4", "4", "4x", "x", "-3x3", "4x4x4", "999999x1"):
        assert (
            error(path, f"--size={size}")
            == f"size is {size!r}; expected height x width in pixels, such as 32x32"
        )
    assert error(path, "--task", "nope").startswith("there is no task 'nope'; known tasks: toy")
    picture = str(tmp_path / "no" / "p.png")
    assert (
        error(path, "--png", picture)
        == f"{picture} cannot be written (No such file or directory); name another file"
    )


def test_a_misspelt_name_of_the_zoo_is_answered_with_the_right_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["show", "ptb-smal"]) == 2
    assert "did you mean 'ptb-small'? Name a policy's JSON file, or one of" in capsys.readouterr().err
