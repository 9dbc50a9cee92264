"""The picture of a run: every record is a dot at its place."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from training.loop.curves import FILE, HEIGHT, WIDTH, write_curves

SVG = "{http://www.w3.org/2000/svg}"


def dots(path: Path) -> list[tuple[float, float, str]]:
    found = ElementTree.parse(path).getroot().iter(f"{SVG}circle")
    return [(float(one.get("cx", "")), float(one.get("cy", "")), one[0].text or "") for one in found]


def test_every_record_has_a_dot_and_lower_losses_lie_lower(tmp_path: Path) -> None:
    history = [{"step": step, "seconds": 1.0, "loss": 10.0 / step} for step in (10, 20, 40)]
    write_curves(tmp_path, history, [(20, 0.25), (40, 0.75)])
    found = dots(tmp_path / FILE)
    assert [text for _, _, text in found] == [
        "step 10: 1.000", "step 20: 0.500", "step 40: 0.250", "step 20: 0.250", "step 40: 0.750"
    ]  # fmt: skip
    (x1, y1, _), (x2, y2, _), (x3, y3, _), (x4, y4, _), (x5, y5, _) = found
    assert (x2, x3) == (x4, x5)
    assert abs((x3 - x1) - 3 * (x2 - x1)) < 0.3, "steps are drawn to scale"
    assert y1 < y2 < y3 < HEIGHT < y5 < y4 < 2 * HEIGHT
    assert all(0 < x < WIDTH for x, _, _ in found)


def test_before_the_first_record_there_is_nothing_to_draw(tmp_path: Path) -> None:
    write_curves(tmp_path, [], [])
    assert list(tmp_path.iterdir()) == []
    write_curves(tmp_path, [{"step": 10, "loss": 0.0}], [])
    assert len(dots(tmp_path / FILE)) == 1
