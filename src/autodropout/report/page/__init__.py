"""The parts of the HTML report, one file each, with its style sheet and script."""
