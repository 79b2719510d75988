import dataclasses

import pytest
import torch

from rlipv2.models import RelationTagger
from rlipv2.models.queries import GivenPairQueries
from tests.models import tiny


def test_empty_rows_change_nothing():
    model = tiny.tagger().eval()
    inputs, pairs = tiny.images(), [tiny.target(3), tiny.target(1)]
    short = model.tag(*inputs, tiny.LABELS, pairs)
    model.queries.keep_empty = True
    full = model(*inputs, tiny.LABELS, pairs)
    assert full.relation_logits.shape[2] == 5
    for image, scores in enumerate(short):
        assert scores.shape == (len(pairs[image]), 4)
        torch.testing.assert_close(full.relation_logits[-1, image, : len(scores)].sigmoid(), scores)


def test_an_image_without_pairs_is_harmless():
    model = tiny.tagger()
    output = model(*tiny.images(), tiny.LABELS, [tiny.target(0), tiny.target(2)])
    assert torch.isfinite(output.relation_logits).all()
    output.relation_logits.sum().backward()
    scores = model.eval().tag(*tiny.images(), tiny.LABELS, [tiny.target(0), tiny.target(0)])
    assert [score.shape for score in scores] == [(0, 4), (0, 4)]


def test_boxes_and_labels_are_the_question_and_relations_are_not_read():
    model = tiny.tagger().eval()
    inputs, pairs = tiny.images(), [tiny.target(2), tiny.target(2)]
    before = model.tag(*inputs, tiny.LABELS, pairs)[0]

    def asked(**changes):
        return model.tag(*inputs, tiny.LABELS, [dataclasses.replace(pairs[0], **changes), pairs[1]])[0]

    assert torch.equal(asked(relations=1 - pairs[0].relations), before)
    # untrained texts are nearly alike
    assert not torch.equal(asked(object_labels=(pairs[0].object_labels + 1) % 3), before)
    assert not torch.allclose(asked(subject_boxes=pairs[0].subject_boxes.flip(0) * 0.5), before)


def test_noise_is_for_training_only_and_zero_noise_changes_nothing():
    queries = GivenPairQueries(5, 32, box_noise=0.0, label_noise=0.0)
    texts, targets = torch.randn(1, 8, 32), [tiny.target(3)]
    trained, evaluated = queries(texts, 4, targets), queries.eval()(texts, 4, targets)
    torch.testing.assert_close(trained.position, evaluated.position)
    torch.testing.assert_close(trained.content, evaluated.content)
    noisy = GivenPairQueries(5, 32, box_noise=0.5, label_noise=1.0)
    noisy.load_state_dict(queries.state_dict())
    assert not torch.allclose(noisy(texts, 4, targets).position, evaluated.position)
    torch.testing.assert_close(noisy.eval()(texts, 4, targets).position, evaluated.position)


@pytest.mark.parametrize(("noise_labels", "drawn"), [("batch", {0}), ("all", {0, 1, 2})])
def test_replacement_labels_come_from_the_batch_axis_or_from_all_objects(noise_labels, drawn):
    torch.manual_seed(0)
    queries = GivenPairQueries(60, 32, label_noise=1.0, noise_labels=noise_labels)
    texts = torch.eye(4, 32)[None]  # one text per object, then the background
    content = queries(texts, 4, [tiny.target(60)]).content
    assert set(content[0].argmax(-1).tolist()) == drawn  # one image: the official rule only draws label 0


def test_labels_give_their_text_without_gradient():
    texts = torch.randn(1, 8, 32, requires_grad=True)
    queries = GivenPairQueries(5, 32, label_noise=0.0)(texts, 4, [tiny.target(2)])
    assert not queries.content.requires_grad
    target = tiny.target(2)
    torch.testing.assert_close(queries.content[0, :2], texts[0, target.subject_labels])


def same_subject_twice():
    target = tiny.target(2)
    return dataclasses.replace(
        target,
        subject_boxes=target.subject_boxes[:1].repeat(2, 1),
        subject_labels=target.subject_labels[:1].repeat(2),
        object_boxes=torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.7, 0.7, 0.1, 0.1]]),
    )


@pytest.mark.parametrize(
    ("entity_mask", "num_pairs", "hidden"),
    [("exact", 3, True), ("exact", 2, True), ("official", 3, False), ("official", 2, True), ("none", 2, False)],
)
def test_an_entity_in_two_pairs_is_hidden_from_itself_where_the_mask_is_on(entity_mask, num_pairs, hidden):
    queries = GivenPairQueries(num_pairs, 32, entity_mask=entity_mask)
    mask = queries(torch.randn(1, 8, 32), 4, [same_subject_twice()]).entity_mask
    seen_by_the_other = mask is not None and bool(mask[0, 0, 1])
    assert seen_by_the_other is hidden
    if mask is not None:
        assert not mask[0].diagonal().any()
        assert not mask[0, 0, 2]
    assert queries.eval()(torch.randn(1, 8, 32), 4, [same_subject_twice()]).entity_mask is None


def test_wrong_questions_are_refused():
    model = tiny.tagger()
    with pytest.raises(ValueError, match="pass targets with boxes and labels"):
        model(*tiny.images(), tiny.LABELS)
    with pytest.raises(ValueError, match=r"image 1 of the batch has 6 pairs, but this tagger takes 5"):
        model(*tiny.images(), tiny.LABELS, [tiny.target(1), tiny.target(6)])
    with pytest.raises(ValueError, match="2 images but 1 targets: pass one target for each image"):
        model.tag(*tiny.images(), tiny.LABELS, [tiny.target(1)])
    with pytest.raises(ValueError, match="0 images but 0 targets"):
        model.queries(torch.randn(0, 8, 32), 4, [])
    for label in (-1, 4):  # 0-2 are objects, 3 is the background
        odd = dataclasses.replace(tiny.target(1), object_labels=torch.tensor([label]))
        with pytest.raises(ValueError, match=f"labels of pairs range from .*{label}.*3 objects"):
            model.tag(*tiny.images(), tiny.LABELS, [odd, tiny.target(1)])


def test_replacement_labels_of_a_large_batch_are_objects_all_the_same():
    queries = GivenPairQueries(30, 32, label_noise=1.0)
    texts = torch.eye(8, 32).expand(6, -1, -1)  # six images, but three objects
    content = queries(texts, 4, [tiny.target(30) for _ in range(6)]).content
    assert set(content.argmax(-1).flatten().tolist()) == {0, 1, 2}


def test_a_tagger_needs_given_pairs():
    with pytest.raises(TypeError, match="needs GivenPairQueries"):
        RelationTagger(queries=tiny.parsed().queries)
