"""The bare step: switches change its time and not what it computes."""

import pytest
import torch

from onelook.training.prepare import prepare
from speed import switches, training
from speed.bare import BareStep, Switches
from speed.files import one_after_the_other
from speed.switches import Gains

ON = {
    "freed memory kept": True,
    "fused Adam": True,
    "channels-last": False,
    "bf16": False,
    "torch.compile": False,
}


@pytest.fixture(scope="module")
def material(shapes_folder, shapes_recipe):
    return prepare(shapes_recipe, shapes_folder, progress=False)


def weights_after(material, recipe, chosen):
    bare = BareStep(recipe, material)
    step = bare.use(chosen)
    assert [step() for _ in range(3)] == [len(material.sampler.batch(0).items)] * 3
    return torch.cat([weight.detach().flatten() for weight in bare.model.parameters()])


def test_switches_change_nothing_but_the_time(material, shapes_recipe):
    plain = weights_after(material, shapes_recipe, Switches())
    changed = Switches(fused=True, channels_last=True)
    torch.testing.assert_close(
        weights_after(material, shapes_recipe, changed), plain, atol=1e-4, rtol=1e-3
    )


def test_the_recipes_optimizer_is_another_one_than_adam(material, shapes_recipe):
    bare = BareStep(shapes_recipe, material)
    bare.use(Switches(recipe_optimizer=True))()
    assert bare.recipe_optimizer.state and not bare.plain_adam.state


def test_channels_are_left_in_front_unless_they_are_to_be_last(material, shapes_recipe):
    bare = BareStep(shapes_recipe, material)
    assert bare.encoder_turns_channels_last()  # the compact encoder does
    seen = []
    bare.encoder.stages.register_forward_pre_hook(
        lambda _, given: seen.append(
            given[0].is_contiguous(memory_format=torch.channels_last)
        )
    )
    for channels_last in (False, True):
        bare.use(Switches(channels_last=channels_last))()
    assert seen == [False, True]


def test_a_step_takes_time(material, shapes_recipe):
    bare = BareStep(shapes_recipe, material)
    one, twenty = bare.seconds(Switches(), 1), bare.seconds(Switches(), 20)
    assert 0 < one < twenty


def test_the_limit_runs_with_what_pays():
    times = {"fused Adam": 1.4, "channels-last": 1.2, "bf16": 0.7, "torch.compile": 1.3}
    best = Gains("compact", times, ON, []).best()
    assert best == Switches(recipe_optimizer=True, channels_last=True)
    # bf16 was measured with channels last, so it has to make up for what these cost.
    for bf16, wins in ((2.0, True), (1.05, False)):
        best = Gains("att", {"channels-last": 0.9, "bf16": bf16}, ON, []).best()
        assert best == Switches(recipe_optimizer=True, channels_last=wins, bf16=wins)


def test_the_table_says_where_onelook_does_not_take_what_pays(capsys):
    times = {"fused Adam": 1.4, "channels-last": 1.2, "bf16": 0.7, "torch.compile": 1.3}
    rows = switches.report(Gains("lfw", times, ON, ["a note"]))
    printed = capsys.readouterr().out
    assert "channels-last pays and is off" in printed
    assert printed.count("pays") == 1  # what compiling costs beforehand is told elsewhere
    assert "a note" in printed and "1.20 x" in printed
    assert ("train-switches", "LfwEncoder", "fused Adam", 1.4) in rows


def test_the_training_table_gives_ratios_and_says_what_is_reached(capsys):
    rates = {
        "published": [50.0, 50.0],
        "library": [100.0, 100.0],
        "library-decoded": [150.0, 150.0],
        "onelook": [200.0, 200.0],
        "limit": [250.0, 250.0],
    }
    rows = training.report("lfw", rates, Switches())
    figures = {row.metric: row.value for row in rows}
    assert figures == {
        "images_per_second": 200,
        "ratio_published": 4,
        "ratio_pml": 2,
        "ratio_limit": 0.8,
    }
    printed = capsys.readouterr().out
    assert ">= 3: yes" in printed and ">= 1.5: yes" in printed and ">= 0.95: NO" in printed


def test_two_jobs_that_share_the_cores():
    assert one_after_the_other(300.0, 600.0) == pytest.approx(200.0)
