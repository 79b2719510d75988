import pytest
import torch
from torch.nn import functional as F

from rlipv2.losses import PseudoRelations


def reference(text: torch.Tensor, relations: torch.Tensor, threshold: float) -> torch.Tensor:
    """The published formula, one number at a time."""
    count = len(text)
    rows = []
    for row in relations:
        scores = torch.zeros(count)
        for v in row.nonzero().flatten().tolist():
            distances = torch.stack([F.pairwise_distance(text[u][None], text[v][None])[0] for u in range(count)])
            scores += distances.max() - distances
        scores = scores / scores.max()
        scores[row.bool()] = 0
        rows.append(torch.where(scores > threshold, scores, 0))
    return torch.stack(rows)


def test_equals_the_formula_written_out():
    text = torch.randn(7, 12).tanh()
    relations = torch.eye(7)[[0, 3, 5]]
    relations[2, 1] = 1
    ours = PseudoRelations(threshold=0.2)(text, relations)
    assert ours.count_nonzero() > 3
    torch.testing.assert_close(ours, reference(text, relations, 0.2), atol=1e-5, rtol=0)


def test_one_relation_gives_one_minus_the_relative_distance():
    text = torch.tensor([[0.0], [1.0], [4.0]])
    scores = PseudoRelations(threshold=0.3)(text, torch.tensor([[1.0, 0, 0]]))
    torch.testing.assert_close(scores, torch.tensor([[0, 0.75, 0]]), atol=1e-5, rtol=0)


def test_duplicate_text_scores_one():
    text = torch.randn(4, 8)
    text[3] = text[0]
    assert PseudoRelations()(text, torch.eye(4)[:1])[0, 3].item() == pytest.approx(1, abs=1e-3)


def test_threshold_is_strict():
    text = torch.tensor([[0.0], [2.0], [4.0]])
    row = torch.tensor([[1.0, 0, 0]])
    score = PseudoRelations(threshold=0.0)(text, row)[0, 1].item()
    assert score == pytest.approx(0.5, abs=1e-5)
    assert PseudoRelations(threshold=score)(text, row)[0, 1] == 0


@pytest.mark.parametrize(
    ("texts", "relations"), [(5, torch.zeros(2, 5)), (1, torch.ones(1, 1)), (5, torch.zeros(0, 5))]
)
def test_rows_without_anything_to_compare_are_zero_with_finite_gradient(texts, relations):
    text = torch.randn(texts, 8, requires_grad=True)
    scores = PseudoRelations()(text, relations)
    scores.sum().backward()
    assert scores.eq(0).all()
    assert text.grad.isfinite().all()


@pytest.mark.parametrize("detach", [False, True])
def test_gradient_reaches_the_text_unless_detached(detach):
    text = torch.randn(5, 8, requires_grad=True)
    assert PseudoRelations(threshold=0.0, detach=detach)(text, torch.eye(5)).requires_grad is not detach


def test_missing_text_and_wrong_threshold_are_errors():
    with pytest.raises(ValueError, match="relation_text"):
        PseudoRelations()(None, torch.eye(3))
    with pytest.raises(ValueError, match=r"threshold=1\.5"):
        PseudoRelations(threshold=1.5)
