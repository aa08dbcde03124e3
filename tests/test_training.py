"""The trainer: two processes do what one does, parts of a batch, mixed precision, going on."""

import importlib
import logging
import re
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from detectron2.engine import HookBase, SimpleTrainer, launch
from detectron2.solver.build import maybe_add_gradient_clipping

from d2_plugtrack.errors import UserError
from d2_plugtrack.plugin import load_config
from d2_plugtrack.train_step import StepTrainer
from d2_plugtrack.training import LogSummary, scale_to_processes

PLUGTRACK, DETECTOR = "plugtrack_tiny.yaml", "detector_tiny.yaml"
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums in another order, on any number of threads


@pytest.fixture(scope="module")
def script():
    """two_processes.py, which other processes can import too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("two_processes")


@pytest.fixture(scope="module")
def outcomes(script, tmp_path_factory) -> dict[str, list]:
    """By run: what one process ended with, then each of two."""
    folder = tmp_path_factory.mktemp("processes")
    script.run_all(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # or detectron2 lets them share by NCCL
        patience = timedelta(minutes=5)  # of processes that wait for one another
        launch(script.run_all, 2, dist_url="auto", args=(folder,), timeout=patience)
    files = [torch.load(folder / f"{name}.pth") for name in ("1_0", "2_0", "2_1")]
    return {name: [file[name] for file in files] for name in files[0]}


def trained(state: dict) -> dict:
    """Without statistics of batch norm."""
    return {k: v for k, v in state.items() if not k.endswith(STATISTICS)}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def pairs_of(script, counts, seed=1) -> list:
    generator = torch.Generator().manual_seed(seed)
    return [script.pair_with(count, generator) for count in counts]


def images_of(script, counts, seed=1) -> list:
    generator = torch.Generator().manual_seed(seed)
    return [script.image_with(count, generator) for count in counts]


# ---- two processes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tracker", "detector"])
def test_two_processes_log_the_losses_of_the_whole_batch(outcomes, name):
    one, main, _ = (run["logged"] for run in outcomes[name])
    losses = [key for key in one if key.startswith("loss")]
    assert len(losses) == {"tracker": 2, "detector": 4}[name]
    for key in losses:
        assert main[key] == pytest.approx(one[key], rel=1e-5, abs=1e-7)
    assert max(one["total_loss"]) > 1


@pytest.mark.parametrize("name", ["tracker", "detector"])
def test_two_processes_end_with_the_weights_of_the_whole_batch(outcomes, name):
    one, *two = outcomes[name]
    moved = [(v - one["before"][k]).abs().max() for k, v in trained(one["weights"]).items()]
    assert max(moved) > 1e-3
    for process in two:
        torch.testing.assert_close(trained(process["weights"]), trained(one["weights"]), **CLOSE)


def test_no_process_changes_a_bit_of_the_frozen_detector(outcomes):
    for run in outcomes["tracker"]:
        initial = {k: v for k, v in run["initial"].items() if not k.startswith("tracker.")}
        assert len(initial) > 50
        assert all(torch.equal(run["weights"][k], value) for k, value in initial.items())


def test_shared_batch_norm_has_the_names_and_the_statistics_of_all_regions(outcomes):
    one, *two = (run["weights"] for run in outcomes["tracker"])
    means = [key for key in one if key.startswith("tracker.") and key.endswith("running_mean")]
    assert len(means) == 3
    for state in two:
        assert list(state) == list(one)
        for key in means:
            torch.testing.assert_close(state[key], one[key], **CLOSE)
            # detectron2's is the biased variance: of 3 templates of 49 cells 146 / 147 of it
            variance = key.replace("mean", "var")
            torch.testing.assert_close(state[variance], one[variance], rtol=1e-2, atol=0)


NOT_FINITE = {  # what the process that met it says
    "not finite": "iteration 1: NaN or infinity in tracking map of image 1",
    "bad box": r"iteration 1: true box \[.*inf.*\] of image [26]",
    "bad gradient": "iteration 1: NaN or infinity in the gradient of tracker.shared.bias",
    "bad proposals": "iteration 1: NaN or infinity in pixels of image [13]; Predicted boxes or",
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_what_is_not_finite_is_named_by_every_process(outcomes, name):
    alone, other, finder = (run["error"] for run in outcomes[name])
    assert re.match(NOT_FINITE[name], alone) and re.match(NOT_FINITE[name], finder)
    if name == "bad gradient":  # processes have exchanged them
        assert other == finder
    else:
        assert other == finder.replace("iteration 1: ", "iteration 1: process 1 found: ")


@pytest.mark.parametrize("name", NOT_FINITE)
def test_what_is_not_finite_leaves_all_as_it_was_before_the_step(outcomes, name):
    for process in outcomes[name]:
        torch.testing.assert_close(process["weights"], process["before"], rtol=0, atol=0)
        states = process["optimizer"]
        torch.testing.assert_close(
            states["after"]["state"], states["before"]["state"], rtol=0, atol=0
        )
        assert len(states["after"]["state"]) > 5  # momentum of the first step
        counters = [v for k, v in process["weights"].items() if k.endswith("num_batches_tracked")]
        assert sum(map(int, counters)) >= 3 and max(counters) == 1  # and its statistics


def test_parts_on_two_processes_are_the_whole_batch(outcomes):
    expected = outcomes["accumulation"][0][1]
    for process in outcomes["accumulation"]:
        for parts in (1, 2):
            torch.testing.assert_close(process[parts], expected, **CLOSE)


def test_every_process_evaluates_what_the_main_one_saves(outcomes):
    assert [run["shared"].tolist() for run in outcomes["evaluation"]] == [[1.0, 1.0]] * 3


def test_means_over_processes(outcomes):
    means = [run["mean"].tolist() for run in outcomes["evaluation"]]
    assert means == [[1.0, 0.0], [1.0, 0.5], [1.0, 0.5]]  # of the processes' own numbers, 0 and 1


# ---- steps --------------------------------------------------------------------------------------


def run_steps(script, trainer_class, *, clip=False, scaler=None, **settings):
    """Weights and logged losses of six steps on random vectors."""
    torch.manual_seed(5)
    model = script.Squares()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    if clip:
        keys = ["SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.01"]
        cfg = load_config(str(script.CONFIGS / DETECTOR), keys)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        optimizer = maybe_add_gradient_clipping(cfg, optimizer)
    batches = [list(batch) for batch in 10 * torch.randn(6, 4, 3)]
    trainer = trainer_class(model, batches, optimizer, **settings)
    if scaler is not None:
        trainer.scaler = scaler
    trainer.train(0, 6)
    losses = [v for v, _ in trainer.storage.histories()["total_loss"].values()]
    return model.state_dict(), losses


ONE_PART = {"parts": 1, "mixed_precision": False}


def test_one_part_is_the_trainer_of_detectron2(script):
    expected, found = run_steps(script, SimpleTrainer), run_steps(script, StepTrainer, **ONE_PART)
    assert found[1] == expected[1]
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0)


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_are_the_whole_batch(script, parts):
    expected = run_steps(script, StepTrainer, **ONE_PART)
    weights, losses = run_steps(script, StepTrainer, parts=parts, mixed_precision=False)
    assert losses == pytest.approx(expected[1], rel=1e-5)
    torch.testing.assert_close(weights, expected[0], **CLOSE)


@pytest.mark.parametrize("scale", [2.0**10, 2.0**-10])
def test_gradients_are_clipped_as_they_are_without_their_scale(script, scale):
    expected, _ = run_steps(script, StepTrainer, clip=True, **ONE_PART)
    free, _ = run_steps(script, StepTrainer, **ONE_PART)
    assert not torch.equal(free["linear.weight"], expected["linear.weight"])
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=100)
    found, _ = run_steps(script, StepTrainer, clip=True, scaler=scaler, **ONE_PART)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_gradients_that_overflow_are_not_stepped_with(script):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-120)
    weights, losses = run_steps(script, StepTrainer, scaler=scaler, **ONE_PART)
    assert all(torch.isfinite(w).all() for w in weights.values())
    assert scaler.get_scale() == 2.0**7  # one step was left out, five were made
    assert len(losses) == 6


def without_batch_norm(trainer) -> None:
    """The tracker's batch norm uses its running statistics, and so does not see parts."""
    for name in ("template_block", "search_block", "response_block"):
        getattr(trainer.model.tracker, name).eval()


def test_parts_of_equal_numbers_of_regions_are_the_whole_batch(script, tmp_path):
    batches = [pairs_of(script, (2, 1, 1, 2), seed) for seed in range(3)]
    results = []
    for parts in (1, 2):
        keys = [*script.TRACKER, "SOLVER.ACCUMULATE", parts, "SOLVER.BASE_LR", 1e-5]
        trainer = script.build_trainer(tmp_path, PLUGTRACK, batches, *keys)
        without_batch_norm(trainer)
        results.append(script.train(trainer))
    whole, parts = results
    torch.testing.assert_close(parts["weights"], whole["weights"], **CLOSE)
    for key in ("loss_track_box", "loss_track_iou", "lr"):
        assert len(parts["logged"][key]) == len(batches)  # iterations are steps
        assert parts["logged"][key] == pytest.approx(whole["logged"][key], rel=1e-5)


# ---- mixed precision ----------------------------------------------------------------------------


class Watched(HookBase):
    """Type of what the first convolution of the backbone gives."""

    def before_train(self):
        first = next(m for m in self.trainer.model.modules() if isinstance(m, torch.nn.Conv2d))
        first.register_forward_hook(lambda module, inputs, output: self.note(output.dtype))

    def note(self, dtype):
        self.dtype = dtype


@pytest.mark.parametrize("config", [PLUGTRACK, DETECTOR])
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
        ),
    ],
)
def test_mixed_precision_trains_both_stages(script, tmp_path, config, device):
    make = pairs_of if config == PLUGTRACK else images_of
    batches = [make(script, (2, 1)), make(script, (0, 3))]
    own = script.TRACKER if config == PLUGTRACK else script.DETECTOR
    results = []
    for enabled in (False, True):
        keys = [*own, "SOLVER.AMP.ENABLED", enabled, "SOLVER.IMS_PER_BATCH", 2]
        trainer = script.build_trainer(tmp_path, config, batches, *keys, "MODEL.DEVICE", device)
        watched = Watched()
        trainer.register_hooks([watched])
        results.append(script.train(trainer))
        low = torch.float16 if device == "cuda" else torch.bfloat16
        assert watched.dtype == (low if enabled else torch.float32)
        assert trainer._trainer.scaler.is_enabled() == (enabled and device == "cuda")
    full, mixed = results
    assert all(v.isfinite().all() for v in mixed["weights"].values())
    assert {v.dtype for v in trained(mixed["weights"]).values()} == {torch.float32}
    first, expected = (r["logged"]["total_loss"][0] for r in (mixed, full))
    assert first == pytest.approx(expected, rel=0.1)


# ---- going on -----------------------------------------------------------------------------------

GOING_ON = [
    *("SOLVER.OPTIMIZER", "AdamW", "SOLVER.WARMUP_ITERS", 3, "SOLVER.CHECKPOINT_PERIOD", 2),
    *("SOLVER.ACCUMULATE", 2, "SOLVER.MAX_ITER", 4),
]


def test_a_resumed_training_is_the_uninterrupted_one(script, tmp_path):
    batches = [pairs_of(script, counts) for counts in ((2, 1, 1, 2), (1, 1, 0, 3))] * 2
    keys = [*script.TRACKER, *GOING_ON]
    for name in ("whole", "rest"):
        (tmp_path / name).mkdir()
    whole = script.build_trainer(tmp_path / "whole", PLUGTRACK, batches, *keys)
    expected = script.train(whole)
    (tmp_path / "whole/model_0000001.pth").rename(tmp_path / "rest/model_0000001.pth")
    (tmp_path / "rest/last_checkpoint").write_text("model_0000001.pth")
    rest = script.build_trainer(tmp_path / "rest", PLUGTRACK, batches[2:], *keys)
    rest.resume_or_load(resume=True)
    assert (rest.start_iter, rest.max_iter) == (2, 4)
    found = script.train(rest)
    assert found["logged"]["lr"] == expected["logged"]["lr"][2:]
    assert len(set(expected["logged"]["lr"])) == 4
    for key, values in found["logged"].items():
        assert values == pytest.approx(expected["logged"][key][2:], rel=1e-5)
    torch.testing.assert_close(found["weights"], expected["weights"], **CLOSE)
    for name in ("iteration", "hooks"):
        saved = [torch.load(tmp_path / f / "model_final.pth") for f in ("whole", "rest")]
        assert saved[0]["trainer"][name] == saved[1]["trainer"][name]


def test_a_scaler_goes_on_too(script):
    model = script.Squares()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    saved, other = (StepTrainer(model, [], optimizer, **ONE_PART) for _ in range(2))
    unscaled = saved.state_dict()
    saved.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    other.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    other.load_state_dict(unscaled)  # of a training in full precision
    assert other.scaler.get_scale() == 2.0
    other.load_state_dict(saved.state_dict())
    assert other.scaler.get_scale() == 8.0


# ---- the number of processes --------------------------------------------------------------------


def settings(script, **solver):
    keys = [str(x) for key, value in solver.items() for x in (f"SOLVER.{key}", value)]
    return load_config(str(script.CONFIGS / DETECTOR), keys)


def test_a_schedule_of_four_gpus_is_scaled_to_one(script, tmp_path):
    schedule = {"IMS_PER_BATCH": 8, "BASE_LR": 0.001, "MAX_ITER": 135, "STEPS": "(90,)"}
    keys = {**schedule, "WARMUP_ITERS": 10, "CHECKPOINT_PERIOD": 25, "REFERENCE_WORLD_SIZE": 4}
    solver = scale_to_processes(settings(script, **keys, ACCUMULATE=2), 1).SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR) == (2, 0.00025)
    assert (solver.MAX_ITER, solver.STEPS, solver.WARMUP_ITERS) == (540, (360,), 40)
    assert (solver.CHECKPOINT_PERIOD, solver.ACCUMULATE) == (100, 2)
    batches = [images_of(script, (1, 2))]
    given = [x for key, value in keys.items() for x in (f"SOLVER.{key}", value)]
    trainer = script.build_trainer(tmp_path, DETECTOR, batches, *given)
    assert trainer.max_iter == 540 and trainer.cfg.SOLVER.IMS_PER_BATCH == 2
    assert trainer.optimizer.param_groups[0]["initial_lr"] == 0.00025


def test_without_a_reference_nothing_is_scaled(script):
    cfg = settings(script, IMS_PER_BATCH=8, ACCUMULATE=2)
    for processes in (1, 2, 4):
        assert scale_to_processes(cfg, processes) == cfg


@pytest.mark.parametrize(
    ("solver", "processes", "named"),
    [
        (
            {"IMS_PER_BATCH": 8, "ACCUMULATE": 3},
            1,
            r"SOLVER.IMS_PER_BATCH 8: expected a multiple of 1 \(.*s\) times 3 \(SOLVER.ACCUMULATE",
        ),
        ({"IMS_PER_BATCH": 8, "ACCUMULATE": 2}, 3, r"3 \(processes\) times 2"),
        ({"IMS_PER_BATCH": 0}, 1, "SOLVER.IMS_PER_BATCH 0"),
        ({"ACCUMULATE": 0}, 1, "SOLVER.ACCUMULATE 0: expected at least 1"),
        (
            {"IMS_PER_BATCH": 6, "REFERENCE_WORLD_SIZE": 4},
            1,
            "IMS_PER_BATCH 6: expected a multiple of SOLVER.REFERENCE_WORLD_SIZE 4",
        ),
        (
            {"IMS_PER_BATCH": 8, "REFERENCE_WORLD_SIZE": 8, "ACCUMULATE": 2},
            1,
            "SOLVER.IMS_PER_BATCH 1: expected a multiple of 1",
        ),
    ],
)
def test_batches_that_do_not_divide_are_refused(script, solver, processes, named):
    with pytest.raises(UserError, match=named):
        scale_to_processes(settings(script, **solver), processes)


# ---- summaries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [[[torch.ones(3)]], [[torch.full((3,), torch.nan)]]])
@pytest.mark.parametrize("text", ["left out 3 images", ""])
def test_a_summary_is_logged_at_the_end_whatever_the_end(script, caplog, batches, text):
    model = script.Squares()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trainer = StepTrainer(model, batches, optimizer, **ONE_PART)
    trainer.register_hooks([LogSummary(lambda: text)])
    caplog.set_level(logging.INFO, "d2_plugtrack.training")
    try:
        trainer.train(0, 1)
    except FloatingPointError as error:
        assert "iteration 0: loss_square is nan" in str(error)
    logged = [r.message for r in caplog.records if r.name == "d2_plugtrack.training"]
    assert logged == ([text] if text else [])
