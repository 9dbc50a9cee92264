"""The check of `groknet doctor` for the detector: which one runs, for what, and whether it works here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from groknet.diagnosis.check import Check
from groknet.home.config import Loaded
from groknet.home.detecting import open_detector
from schemas.boxes import DetectPlan
from schemas.errors import ConfigError, GroknetError
from schemas.manifest import load_manifest
from workers.stages.detect import Looking

_JOIN = "join both with `groknet bundle with-detector`, and back-fill the new bundle"


def detector_check(loaded: Loaded) -> Check:
    """Open the detector as a worker does, which compares its checksums and its boxes for the parity photos, and say
    what it is for. It is no failure if there is none."""
    try:
        return _checked(loaded)
    except ModuleNotFoundError as error:
        return _check("note", f"not run, since {error.name} is not installed", "pip install 'groknet[cpu]'")
    except ConfigError as error:
        return _check("failed", str(error), "correct the named key")
    except GroknetError as error:
        return _check("failed", str(error), "name another folder in detect.bundle, or make the bundle again")


def _checked(loaded: Loaded) -> Check:
    """Raises what opening the detector raises, and ConfigError if a tagger would refuse it."""
    manifest = load_manifest(Path(loaded.config.engine.bundle))
    detector = open_detector(loaded, searching=True)
    found = "none"
    if detector is not None:
        detector.close()
        found = f"{detector.detector_id} by {loaded.config.detect.backend}; its boxes for the parity photos match"
    if not manifest.detection:
        return _of_whole_photos(loaded, found, there=detector is not None)
    Looking.of(manifest, detector)
    if loaded.config.tagger.decode_processes:
        raise ConfigError("tagger.decode_processes: a tagger with a detector cannot decode in processes; set it to 0")
    detail = f"{found}; {_words(manifest.detection)}"
    differing = _differing(loaded, manifest.detection)
    if differing:
        return _check("note", f"{detail}; this is not what {', '.join(differing)} says, and it counts", _JOIN)
    return _check("ok", detail)


def _of_whole_photos(loaded: Loaded, found: str, *, there: bool) -> Check:
    """The check where the bundle that runs has no detector. `there`: searches may ask for one."""
    detail = f"{found}; listings are described whole" + (", and searches may ask for it" if there else "")
    mode = loaded.config.detect.mode
    if mode == "off":
        return _check("ok", detail)
    return _check("note", f"{detail}: the bundle that runs has none, so detect.mode = {mode!r} has no effect", _JOIN)


def _words(plan: DetectPlan) -> str:
    most = "" if plan.mode == "subject" else f", at most {plan.most_boxes} a photo"
    return f"mode {plan.mode}, threshold {plan.threshold:g}, padding {plan.padding:g}{most}"


def _differing(loaded: Loaded, plan: DetectPlan) -> list[str]:
    """The settings that differ from the plan of the bundle, which counts. None if `[detect]` makes no bundle."""
    section = loaded.config.detect
    if section.mode == "off":
        return []
    most = 1 if section.mode == "subject" else section.most_boxes
    wanted = {"mode": section.mode, "padding": section.padding, "threshold": section.threshold, "most_boxes": most}
    return [f"detect.{name}" for name, value in wanted.items() if getattr(plan, name) != value]


def _check(state: Literal["ok", "note", "failed"], detail: str, remedy: str = "") -> Check:
    return Check(check="detector", state=state, detail=detail, remedy=remedy)
