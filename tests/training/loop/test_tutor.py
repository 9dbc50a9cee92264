"""A student beside its tutor: what counts, what it costs to be equal, and who is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from schemas.errors import ConfigError
from schemas.taxonomy import Taxonomy
from tests.training.tiny import tiny_recipe
from training.bundle.export import export
from training.data.corpus import Corpus, batches
from training.loop.batch import make_batch
from training.loop.state import CHECKPOINT, Peer, new_state
from training.loop.train import train, train_step
from training.loop.tutor import load_tutor, tutor_terms
from training.recipe import Distillation, Recipe

torch.set_num_threads(1)


CPU = torch.device("cpu")


def recipe() -> Recipe:
    plan = Distillation(trunk="efficientnet_lite0", steps=1, heads=2.0, embedding=3.0, labels=0.25)
    return msgspec.structs.replace(tiny_recipe(), distillation=plan)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tutor")
    train(recipe().as_tutor(), path, path / "tutor", cache=path / "cache")
    return path


@pytest.mark.slow
def test_its_own_bundle_says_how_it_is_made(folder: Path, tmp_path: Path) -> None:
    """A tutor may be served, too: its card's command makes it, not a student."""
    manifest = export(
        recipe(),
        folder,
        folder / "tutor",
        tmp_path / "bundle",
        taxonomy=Taxonomy(heads=[]),
        cache=folder / "cache",
        recipe_file="r.toml",
        as_tutor=True,
    )
    assert manifest.training.recipe == "tiny-tutor"
    made = "groknet train r.toml --data DATA --out TUTOR --as-tutor && groknet export TUTOR --out BUNDLE"
    assert manifest.training.command == made
    assert made in (tmp_path / "bundle" / "card.md").read_text()


def losses_of_first_step(tiny_corpus: Corpus, folder: Path | None) -> dict[str, float]:
    state = new_state(recipe(), tiny_corpus)
    if folder is not None:
        state.tutor = load_tutor(folder / "tutor" / CHECKPOINT, recipe().as_tutor(), tiny_corpus.sizes, CPU)
    values = train_step(recipe(), state, tiny_corpus, next(batches(recipe(), tiny_corpus, 0)), 0.0)
    return {name: float(value) for name, value in values.items()}


def test_a_tutor_is_the_recipe_with_its_own_trunk_and_steps() -> None:
    tutor = msgspec.structs.replace(recipe(), distillation=Distillation(steps=7)).as_tutor()
    assert (tutor.name, tutor.trunk, tutor.schedule.steps) == ("tiny-tutor", "efficientnet_lite2", 7)
    assert tutor.heads == recipe().heads


@pytest.mark.slow
def test_beside_a_tutor_every_labelled_head_learns_from_it_and_labels_count_less(
    tiny_corpus: Corpus, folder: Path
) -> None:
    alone, beside = losses_of_first_step(tiny_corpus, None), losses_of_first_step(tiny_corpus, folder)
    added = {"tutor.studio.category", "tutor.studio.colour", "tutor.query", "tutor.embedding"}
    assert set(beside) - set(alone) == added
    assert all(beside[name] > 0 for name in added)
    for head in ("studio.category", "studio.colour", "query"):
        assert beside[f"head.{head}"] == pytest.approx(0.25 * alone[f"head.{head}"], rel=1e-5)
    assert beside["head.object"] == pytest.approx(alone["head.object"], rel=1e-5)  # it imitates the packaged classifier


def test_a_student_that_equals_its_tutor_has_nothing_to_learn_from_it(tiny_corpus: Corpus, folder: Path) -> None:
    state = new_state(recipe(), tiny_corpus)
    state.network.dropout = 0.0  # the tutor drops nothing
    state.tutor = load_tutor(folder / "tutor" / CHECKPOINT, recipe().as_tutor(), tiny_corpus.sizes, CPU)
    state.network.load_state_dict(state.tutor.state_dict())
    values = train_step(recipe(), state, tiny_corpus, next(batches(recipe(), tiny_corpus, 0)), 0.0)
    assert max(float(value) for name, value in values.items() if name.startswith("tutor.")) < 1e-5


@pytest.mark.slow
def test_the_tutor_stays_as_it_is(tiny_corpus: Corpus, folder: Path) -> None:
    state = new_state(recipe(), tiny_corpus)
    state.tutor = load_tutor(folder / "tutor" / CHECKPOINT, recipe().as_tutor(), tiny_corpus.sizes, CPU)
    before = {name: value.clone() for name, value in state.tutor.state_dict().items()}
    train_step(recipe(), state, tiny_corpus, next(batches(recipe(), tiny_corpus, 0)), 0.0)
    assert all(torch.equal(value, before[name]) for name, value in state.tutor.state_dict().items())


@pytest.mark.slow
def test_a_run_goes_on_with_the_tutor_that_it_was_begun_with(tiny_corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    train(recipe(), folder, tmp_path, cache=folder / "cache", tutor=folder / "tutor")
    with pytest.raises(ConfigError, match="with the tutor efficientnet_lite0"):
        train(recipe(), folder, tmp_path, resume=True, cache=folder / "cache")
    train(recipe(), folder, tmp_path, resume=True, cache=folder / "cache", tutor=folder / "tutor")


def test_a_head_counts_the_views_of_its_data_sets_so_that_ranks_can_weigh_them(
    tiny_corpus: Corpus, folder: Path
) -> None:
    state = new_state(recipe(), tiny_corpus)
    tutor = load_tutor(folder / "tutor" / CHECKPOINT, recipe().as_tutor(), tiny_corpus.sizes, CPU)
    numbers = next(batches(recipe(), tiny_corpus, 0))
    views = torch.rand(2 * len(numbers), 3, 48, 48) * 255
    terms = tutor_terms(recipe(), make_batch(tiny_corpus, numbers, state.network(views), tutor(views)))
    counts = {name: None if term.counted is None else int(term.counted) for name, term in terms.items()}
    assert counts.pop("tutor.embedding") is None  # over pairs of all ranks
    assert set(counts.values()) == {2 * len(numbers)}


def test_who_is_no_tutor_of_the_recipe_is_refused(tiny_corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--as-tutor"):
        load_tutor(tmp_path / CHECKPOINT, recipe().as_tutor(), tiny_corpus.sizes, CPU)
    with pytest.raises(ConfigError, match="no tutor of this recipe"):
        load_tutor(folder / "tutor" / CHECKPOINT, recipe().as_tutor(), tiny_corpus.sizes | {"query": 3}, CPU)


def mutual() -> Recipe:
    plan = Distillation(trunk="efficientnet_lite0", mutual=True, heads=2.0, embedding=3.0, labels=1.0)
    return msgspec.structs.replace(tiny_recipe(), distillation=plan)


def test_two_that_learn_along_teach_each_other(tiny_corpus: Corpus, tmp_path: Path) -> None:
    """Each imitates what the other answered before the step: KL both ways, by its definition."""
    state = new_state(mutual(), tiny_corpus)
    other = msgspec.structs.replace(mutual().as_tutor(), seed=9)
    peer = Peer(other, new_state(other, tiny_corpus), tiny_corpus)
    state.peer = peer
    for one in (state, peer.state):
        one.network.dropout = 0.0
        one.network.eval()
    asked: list[tuple[torch.nn.Module, torch.Tensor]] = []
    for one in (state, peer.state):
        one.model.register_forward_hook(lambda model, _, out: asked.append((model, out.logits["studio.category"])))
    before = peer.state.network.embed.weight.clone()
    values = train_step(mutual(), state, tiny_corpus, next(batches(mutual(), tiny_corpus, 0)), 0.0)
    (_, ours), (_, theirs) = asked
    plan = mutual().distillation
    log_p, log_q = ((x.detach().double() / plan.temperature).log_softmax(1) for x in (ours, theirs))
    expected = float((log_q.exp() * (log_q - log_p)).sum(1).mean()) * plan.temperature**2 * plan.heads
    assert float(values["tutor.studio.category"]) == pytest.approx(expected, rel=2e-3)
    assert not torch.equal(before, peer.state.network.embed.weight), "the peer learns as well"
    assert peer.state.step == 1


@pytest.mark.slow
def test_mutual_learning_resumes_where_it_stopped_and_exports_the_student(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole = train(mutual(), tmp_path, tmp_path / "whole", cache=cache)
    short = msgspec.structs.replace(mutual(), schedule=msgspec.structs.replace(mutual().schedule, steps=2))
    train(short, tmp_path, tmp_path / "cut", cache=cache)
    train(mutual(), tmp_path, tmp_path / "cut", cache=cache, resume=True)
    first, second = (torch.load(path, weights_only=True) for path in (whole, tmp_path / "cut" / CHECKPOINT))
    assert first["tutor"] == "efficientnet_lite0, which learned along"
    for part in (first, first["peer"]):
        assert part["step"] == 2
    for name, value in first["peer"]["network"].items():
        assert torch.equal(value, second["peer"]["network"][name]), name
    assert any(not torch.equal(v, first["network"][n]) for n, v in first["peer"]["network"].items())
    with pytest.raises(ConfigError, match="leave one of them out"):
        train(mutual(), tmp_path, tmp_path / "refused", cache=cache, tutor=tmp_path / "whole")
    manifest = export(mutual(), tmp_path, tmp_path / "whole", tmp_path / "bundle", taxonomy=Taxonomy(heads=[]))
    assert manifest.training.recipe == "tiny"
