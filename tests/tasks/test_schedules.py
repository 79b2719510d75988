import math

import pytest

from rlipv2.tasks.schedules import CosineSchedule, LinearSchedule, LinearTextSchedule, Progress, StepSchedule


def factors(schedule, total_steps, steps_per_epoch, group="base"):
    return [
        schedule.factor(Progress(step, total_steps, step // steps_per_epoch), group) for step in range(total_steps + 1)
    ]


def test_published_step_schedule():
    values = factors(StepSchedule(lr_drop=15), 20, 1)
    assert values[:15] == [1.0] * 15
    assert values[15:20] == pytest.approx([0.1] * 5)


def test_step_schedule_counts_epochs_not_steps():
    assert factors(StepSchedule(lr_drop=2), 8, 2) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01])


def test_linear_schedule_rises_over_its_share_and_falls_to_zero():
    values = factors(LinearSchedule(warmup=0.2), 10, 10)
    assert values == pytest.approx([0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])


def test_linear_text_schedule_moves_the_text_encoder_only():
    schedule = LinearTextSchedule(lr_drop=1, warmup=0.25)
    assert factors(schedule, 4, 2) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert factors(schedule, 4, 2, "text_encoder") == pytest.approx([0, 1, 2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("total_steps", [1, 11])
def test_trainings_too_short_for_a_warm_up_have_none(total_steps):
    assert factors(LinearSchedule(), total_steps, 1)[0] == 1.0


def test_cosine_schedule_ends_at_its_final_factor():
    values = factors(CosineSchedule(warmup_steps=3, final=0.05), 23, 10)
    assert values[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert values[13] == pytest.approx(0.05 + 0.95 * (1 + math.cos(math.pi / 2)) / 2)
    assert values[-1] == pytest.approx(0.05)
    assert values[3:] == sorted(values[3:], reverse=True)


def test_cosine_schedule_scales_groups_of_its_first_part_only():
    schedule = CosineSchedule(warmup_steps=0, restart_step=5, first_factors={"backbone": 4.0})
    backbone, base = factors(schedule, 10, 10, "backbone"), factors(schedule, 10, 10)
    assert backbone[:5] == pytest.approx([4 * factor for factor in base[:5]])
    assert backbone[5:] == base[5:]


def test_cosine_schedule_can_start_anew():
    values = factors(CosineSchedule(warmup_steps=1, final=0.0, restart_step=4), 10, 10)
    assert values[:5] == pytest.approx([0.5, 1.0, 0.75, 0.25, 0.5])
    assert values[5] == 1.0
    assert values[10] == pytest.approx(0.0)
