"""Every official training and evaluation script against the configuration that stands for it.

One row per script of the RLIPv2 repository (`scripts/RLIP_ParSeDA`, `RLIP_ParSeD`, `verb_tagger`), shortened names.
`total` is the batch over all processes; where a script leaves its number of nodes to the cluster it is the one that
the published rule, rate = 1e-4 * sqrt(total / 32), gives for its rate. `mixed_vgcocoo365_resnet` gets the total of that
rule too (64): as it is written it starts one node of 8 x 4, at the rate that all others have with 64 images. Scripts
that differ from the published runs in one value are named with it ("gating", "captions") and have a row without it.
"""

from dataclasses import dataclass, field
from functools import cache

import pytest

from tests import test_config

composed = cache(test_config.composed)  # composing takes most of the time here, and nothing is changed


@dataclass(frozen=True)
class Recipe:
    """What a script sets; the defaults are those of fine-tuning scripts."""

    script: str
    overrides: str
    init: str | None
    per_process: int
    total: int
    lr: float
    epochs: int = 20
    drop: int = 15
    queries: int = 200
    subject_class: bool = True
    quality: bool = True  # giou_verb_label, RQL
    pseudo: bool = False  # pseudo_verb, RPL
    texts: int = 0
    late: bool = False
    gating: str = "vxac"
    query: str = "vanilla_mbf"
    dropout: float = 0.0
    feedforward: int = 2048
    drop_path: float | None = None
    data: dict = field(default_factory=dict)
    corpora: tuple[str, ...] | None = None  # of a mixture, in the official order

    def __str__(self) -> str:
        return self.script


T, L = {"drop_path": 0.2}, {"drop_path": 0.5}
SWIN_T, SWIN_L = " backbone=swin_tiny", " backbone=swin_large"
FEW = {"epochs": 10, "drop": 7, "subject_class": False}
FULL, UC = {"queries": 128}, {"queries": 128}
NO_RQL = {"quality": False}
RLIP = {"pseudo": True, "texts": 500}
MIXED = {"relation_threshold": 0.2, "max_relations": 100, "unrelated_images": "drop", "pair_overlap": False}
VG = RLIP | {"data": {"max_relations": 200, "unrelated_images": "keep"}}
COCO = RLIP | {"corpora": ("vg", "coco"), "data": MIXED}
OBJECTS = RLIP | {"corpora": ("objects365", "vg", "coco"), "data": MIXED}
VG_HICO = RLIP | {"corpora": ("vg", "hico"), "data": MIXED}
COCO_HICO = RLIP | {"corpora": ("vg", "coco", "hico"), "data": MIXED}
ALL = RLIP | {"corpora": ("vg", "coco", "objects365", "hico"), "data": MIXED}
DIRECT = COCO | {"data": MIXED | {"relation_threshold": 0.005}}
PD, PD_SWIN = {"dropout": 0.1, "feedforward": 1024}, {"dropout": 0.1}
TAG = {"quality": False, "texts": 500}


def pda(backbone: str, corpora: str = "vg_coco_o365") -> str:
    return f"weights/rlipv2_parseda_{backbone}_{corpora}"


def pd(backbone: str, corpora: str = "vg_coco_o365") -> str:
    return f"weights/rlipv2_parsed_{backbone}_{corpora}"


def od(family: str, backbone: str, corpora: str = "coco") -> str:
    return f"weights/detection_{family}_{backbone}_{corpora}"


UO_NF = {"zero_shot": "uc_nf"}
UO_RF = {"zero_shot": "uc_rf"}
FEW_10, FEW_1 = {"few_shot_percent": 10}, {"few_shot_percent": 1}

PARSEDA = [
    Recipe("hico", "hico_full corpus=vg_coco", pda("resnet50", "vg_coco"), 8, 64, 1.41e-4, **FULL),
    Recipe("hico_MDETR", "hico_full_late", pda("resnet50", "vg_late"), 8, 32, 1.41e-4, late=True, **FULL),
    Recipe("hico_UC-NF", "hico_uc_nf", pda("resnet50"), 8, 32, 1e-4, 10, 7, data=UO_NF, **UC),
    Recipe("hico_UC-RF", "hico_uc_rf", pda("resnet50"), 8, 32, 1e-4, data=UO_RF, **UC),
    Recipe("hico_few-shot", "hico_fewshot_10pct", pda("resnet50"), 8, 32, 1e-4, data=FEW_10, **FEW),
    Recipe("hico_swinL", "hico_full" + SWIN_L, pda("swin_large"), 2, 32, 1e-4, **FULL, **L),
    Recipe("hico_swinL_UC-NF", "hico_uc_nf" + SWIN_L, pda("swin_large"), 2, 32, 1e-4, 10, 7, data=UO_NF, **UC, **L),
    Recipe("hico_swinL_UC-RF", "hico_uc_rf" + SWIN_L, pda("swin_large"), 2, 32, 1e-4, data=UO_RF, **UC, **L),
    Recipe(
        "hico_swinL_few-shot", "hico_fewshot_10pct" + SWIN_L, pda("swin_large"), 2, 32, 1e-4, data=FEW_10, **FEW, **L
    ),
    Recipe("hico_swinT", "hico_full" + SWIN_T, pda("swin_tiny"), 4, 32, 1e-4, **FULL, **T),
    Recipe("hico_swinT_UC-NF", "hico_uc_nf" + SWIN_T, pda("swin_tiny"), 4, 16, 1e-4, 10, 7, data=UO_NF, **UC, **T),
    Recipe("hico_swinT_UC-RF", "hico_uc_rf" + SWIN_T, pda("swin_tiny"), 4, 16, 1e-4, data=UO_RF, **UC, **T),
    Recipe(
        "hico_swinT_few-shot", "hico_fewshot_10pct" + SWIN_T, pda("swin_tiny"), 4, 16, 1e-4, data=FEW_10, **FEW, **T
    ),
    Recipe("oi_sgg", "oi_sgg_full", pda("resnet50"), 8, 32, 1e-4),
    Recipe("oi_sgg_swinL", "oi_sgg_full" + SWIN_L, pda("swin_large"), 2, 16, 1e-4, **L),
    Recipe("oi_sgg_swinT", "oi_sgg_full" + SWIN_T, pda("swin_tiny"), 4, 32, 1e-4, **T),
    Recipe("vcoco", "vcoco_full corpus=vg", pda("resnet50", "vg"), 8, 32, 1e-4, **NO_RQL),
    Recipe("vcoco_swinL", "vcoco_full" + SWIN_L, pda("swin_large"), 2, 32, 1e-4, **NO_RQL, **L),
    Recipe("vcoco_swinT", "vcoco_full" + SWIN_T, pda("swin_tiny"), 4, 32, 1e-4, **NO_RQL, **T),
    Recipe("vcoco_vgcoco", "vcoco_full corpus=vg_coco", pda("resnet50", "vg_coco"), 8, 32, 1e-4, **NO_RQL),
    Recipe("vcoco_vgcocoo365", "vcoco_full", pda("resnet50"), 8, 32, 1e-4, **NO_RQL),
    Recipe("vg (no script, as vg_coco)", "rlip_vg", od("parseda", "resnet50"), 8, 64, 1.41e-4, **VG),
    Recipe("vg_swinL", "rlip_vg" + SWIN_L, od("parseda", "swin_large"), 2, 32, 1e-4, **VG, **L),
    Recipe("vg_swinT", "rlip_vg" + SWIN_T, od("parseda", "swin_tiny"), 4, 32, 1e-4, **VG, **T),
    Recipe("mixed_vgcoco_resnet", "rlip_vg_coco", od("parseda", "resnet50"), 8, 64, 1.41e-4, **COCO),
    Recipe(
        "mixed_vgcoco_resnet_MDETR",
        "rlip_vg_coco_late",
        od("parseda", "resnet50"),
        8,
        64,
        1.41e-4,
        50,
        40,
        late=True,
        **COCO,
    ),
    Recipe(
        "mixed_vgcoco_resnet_pseudo-labels", "rlip_vg_coco_direct", od("parseda", "resnet50"), 8, 64, 1.41e-4, **DIRECT
    ),
    Recipe("mixed_vgcoco_swinL", "rlip_vg_coco" + SWIN_L, od("parseda", "swin_large"), 2, 32, 1e-4, **COCO, **L),
    Recipe("mixed_vgcoco_swinT", "rlip_vg_coco" + SWIN_T, od("parseda", "swin_tiny"), 4, 32, 1e-4, **COCO, **T),
    Recipe("mixed_vgcocohico_resnet", "rlip_vg_coco_hico", od("parseda", "resnet50"), 8, 64, 1.41e-4, **COCO_HICO),
    Recipe(
        "mixed_vgcocoo365_resnet",
        "rlip_vg_coco_o365",
        od("parseda", "resnet50", "coco_o365"),
        4,
        64,
        1.41e-4,
        **OBJECTS,
    ),
    Recipe(
        "mixed_vgcocoo365_swinL",
        "rlip_vg_coco_o365" + SWIN_L,
        od("parseda", "swin_large", "coco_o365"),
        2,
        64,
        1.41e-4,
        **OBJECTS,
        **L,
    ),
    Recipe(
        "mixed_vgcocoo365_swinT",
        "rlip_vg_coco_o365" + SWIN_T,
        od("parseda", "swin_tiny", "coco_o365"),
        4,
        64,
        1.41e-4,
        **OBJECTS,
        **T,
    ),
    Recipe(
        "mixed_vgcocoo365hico_resnet",
        "rlip_vg_coco_o365_hico",
        od("parseda", "resnet50", "coco_o365"),
        4,
        64,
        1.41e-4,
        40,
        30,
        **ALL,
    ),
    Recipe("mixed_vghico_resnet", "rlip_vg_hico", od("parseda", "resnet50"), 8, 64, 1.41e-4, **VG_HICO),
]

PD_OVERRIDE = " model=rlipv2_parsed"
CAPTIONS = (
    "annotations/RLIPv2_train2017_threshold20_Tagger2_Noi24_20e_Xattnmask_SceneGraph_"
    "BLIP1_nucleus10_BLIPdense_thre05.json"
)
PARSED = [
    Recipe("PD hico_r50", "hico_full" + PD_OVERRIDE, pd("resnet50"), 8, 64, 1.41e-4, **PD),
    Recipe("PD hico_r50_UC-NF", "hico_uc_nf" + PD_OVERRIDE, pd("resnet50"), 8, 32, 1e-4, 10, 7, data=UO_NF, **PD),
    Recipe("PD hico_r50_UC-RF", "hico_uc_rf" + PD_OVERRIDE, pd("resnet50"), 8, 32, 1e-4, data=UO_RF, **PD),
    Recipe(
        "PD hico_r50_few-shot", "hico_fewshot_1pct" + PD_OVERRIDE, pd("resnet50"), 8, 32, 1e-4, data=FEW_1, **FEW, **PD
    ),
    Recipe("PD hico_swinL", "hico_full" + PD_OVERRIDE + SWIN_L, pd("swin_large"), 2, 16, 1e-4, **PD_SWIN, **L),
    Recipe(
        "PD hico_swinL_UC-NF",
        "hico_uc_nf" + PD_OVERRIDE + SWIN_L,
        pd("swin_large"),
        2,
        16,
        1e-4,
        10,
        7,
        data=UO_NF,
        **PD_SWIN,
        **L,
    ),
    Recipe(
        "PD hico_swinL_UC-RF",
        "hico_uc_rf" + PD_OVERRIDE + SWIN_L,
        pd("swin_large"),
        2,
        16,
        1e-4,
        data=UO_RF,
        **PD_SWIN,
        **L,
    ),
    Recipe(
        "PD hico_swinL_few-shot",
        "hico_fewshot_10pct" + PD_OVERRIDE + SWIN_L,
        pd("swin_large"),
        2,
        16,
        1e-4,
        data=FEW_10,
        **FEW,
        **PD_SWIN,
        **L,
    ),
    Recipe("PD hico_swinT", "hico_full" + PD_OVERRIDE + SWIN_T, pd("swin_tiny"), 4, 32, 1e-4, **PD_SWIN, **T),
    Recipe(
        "PD hico_swinT_UC-NF",
        "hico_uc_nf" + PD_OVERRIDE + SWIN_T,
        pd("swin_tiny"),
        4,
        32,
        1e-4,
        10,
        7,
        data=UO_NF,
        **PD_SWIN,
        **T,
    ),
    Recipe(
        "PD hico_swinT_UC-RF",
        "hico_uc_rf" + PD_OVERRIDE + SWIN_T,
        pd("swin_tiny"),
        4,
        32,
        1e-4,
        data=UO_RF,
        **PD_SWIN,
        **T,
    ),
    Recipe(
        "PD hico_swinT_few-shot",
        "hico_fewshot_10pct" + PD_OVERRIDE + SWIN_T,
        pd("swin_tiny"),
        4,
        32,
        1e-4,
        data=FEW_10,
        **FEW,
        **PD_SWIN,
        **T,
    ),
    Recipe("PD oi_sgg", "oi_sgg_full model.init=null" + PD_OVERRIDE, None, 8, 64, 1.41e-4, **PD),
    Recipe("PD vcoco_r50", "vcoco_full corpus=vg" + PD_OVERRIDE, pd("resnet50", "vg"), 8, 32, 1e-4, **NO_RQL, **PD),
    Recipe(
        "PD vcoco_swinL", "vcoco_full" + PD_OVERRIDE + SWIN_L, pd("swin_large"), 2, 16, 1e-4, **NO_RQL, **PD_SWIN, **L
    ),
    Recipe(
        "PD vcoco_swinT", "vcoco_full" + PD_OVERRIDE + SWIN_T, pd("swin_tiny"), 4, 32, 1e-4, **NO_RQL, **PD_SWIN, **T
    ),
    Recipe(
        "PD vg_resnet (gating)",
        "rlip_vg fusion.gating=xgating" + PD_OVERRIDE,
        od("parsed", "resnet50"),
        8,
        64,
        1.41e-4,
        gating="xgating",
        **VG,
        **PD,
    ),
    Recipe("PD vg_resnet (published)", "rlip_vg" + PD_OVERRIDE, od("parsed", "resnet50"), 8, 64, 1.41e-4, **VG, **PD),
    Recipe(
        "PD vg_swinL", "rlip_vg" + PD_OVERRIDE + SWIN_L, od("parsed", "swin_large"), 2, 16, 1e-4, **VG, **PD_SWIN, **L
    ),
    Recipe(
        "PD vg_swinT", "rlip_vg" + PD_OVERRIDE + SWIN_T, od("parsed", "swin_tiny"), 4, 32, 1e-4, **VG, **PD_SWIN, **T
    ),
    Recipe(
        "PD mixed_vgcoco_resnet (captions)",
        f"rlip_vg_coco data.corpora.coco.annotations={CAPTIONS}" + PD_OVERRIDE,
        od("parsed", "resnet50"),
        8,
        64,
        1.41e-4,
        **COCO,
        **PD,
    ),
    Recipe(
        "PD mixed_vgcoco_resnet (published)",
        "rlip_vg_coco" + PD_OVERRIDE,
        od("parsed", "resnet50"),
        8,
        64,
        1.41e-4,
        **COCO,
        **PD,
    ),
    Recipe(
        "PD mixed_vgcoco_swinL",
        "rlip_vg_coco" + PD_OVERRIDE + SWIN_L,
        od("parsed", "swin_large"),
        2,
        16,
        1e-4,
        **COCO,
        **PD_SWIN,
        **L,
    ),
    Recipe(
        "PD mixed_vgcoco_swinT",
        "rlip_vg_coco" + PD_OVERRIDE + SWIN_T,
        od("parsed", "swin_tiny"),
        4,
        32,
        1e-4,
        **COCO,
        **PD_SWIN,
        **T,
    ),
    Recipe(
        "PD mixed_vgcocoo365_resnet",
        "rlip_vg_coco_o365" + PD_OVERRIDE,
        od("parsed", "resnet50"),
        8,
        64,
        1.41e-4,
        **OBJECTS,
        **PD,
    ),
    Recipe(
        "PD mixed_vgcocoo365_swinL",
        "rlip_vg_coco_o365" + PD_OVERRIDE + SWIN_L,
        od("parsed", "swin_large"),
        2,
        16,
        1e-4,
        **OBJECTS,
        **PD_SWIN,
        **L,
    ),
    Recipe(
        "PD mixed_vgcocoo365_swinT",
        "rlip_vg_coco_o365" + PD_OVERRIDE + SWIN_T,
        od("parsed", "swin_tiny"),
        4,
        32,
        1e-4,
        **OBJECTS,
        **PD_SWIN,
        **T,
    ),
]

TAGGER = [
    Recipe(
        "tagger_resnet",
        "tagger_vg_noise36",
        od("parsed", "resnet50"),
        8,
        64,
        1.41e-4,
        gating="glip",
        query="vanilla",
        data={"num_pairs": 100},
        **TAG,
        **PD,
    ),
    Recipe("tagger_swinL", "tagger_vg" + SWIN_L, od("parsed", "swin_large"), 2, 32, 1e-4, **TAG, **L),
    Recipe("tagger_swinT", "tagger_vg" + SWIN_T, od("parsed", "swin_tiny"), 4, 32, 1e-4, **TAG, **T),
]
TRAINING = [*PARSEDA, *PARSED, *TAGGER]

ZERO_SHOT = [
    ("zero_shot_resnet", "corpus=vg_coco_direct", pda("resnet50", "vg_coco_direct")),
    ("zero_shot_swinL", "backbone=swin_large", pda("swin_large")),
    ("zero_shot_swinT", "backbone=swin_tiny", pda("swin_tiny")),
    ("PD zero_shot_resnet", "corpus=vg_coco model=rlipv2_parsed", pd("resnet50", "vg_coco")),
    ("PD zero_shot_swinL", "backbone=swin_large model=rlipv2_parsed", pd("swin_large")),
    ("PD zero_shot_swinT", "backbone=swin_tiny model=rlipv2_parsed", pd("swin_tiny")),
]


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        ("rlip_vg total_batch_size=64", 1.41e-4),
        ("rlip_vg total_batch_size=16", 1.41e-4 / 2),
        ("rlip_vg total_batch_size=256", 1.41e-4 * 2),
        ("od_coco total_batch_size=64", 2e-4),
        ("rlip_vg total_batch_size=16 model.lr=3e-4", 3e-4),
        ("rlip_vg total_batch_size=null", None),  # the task then follows the rule
    ],
)
def test_rates_follow_the_total_batch(overrides, rate):
    assert composed(*f"experiment={overrides}".split()).model.lr == (rate and pytest.approx(rate))


@pytest.mark.parametrize("recipe", TRAINING, ids=str)
def test_training_scripts(recipe):
    config = composed(*f"experiment={recipe.overrides}".split())
    model, detector = config.model, config.model.detector
    assert model.init == recipe.init
    assert (config.data.batch_size, config.total_batch_size, model.lr) == (
        recipe.per_process,
        recipe.total,
        recipe.lr,
    )
    assert (config.trainer.max_epochs, model.schedule.lr_drop) == (recipe.epochs, recipe.drop)
    assert model.schedule._target_.endswith("StepSchedule")
    assert 2 * detector.queries.num_pairs == recipe.queries
    assert config.data.num_pairs == detector.queries.num_pairs
    assert detector.subject_class == model.criterion.subject_class == recipe.subject_class
    assert (model.criterion.get("relation_quality") is not None) == recipe.quality
    assert (model.criterion.get("pseudo_relations") is not None) == recipe.pseudo
    assert config.data.get("texts", 0) == recipe.texts
    assert (config.fusion.late is not None, config.fusion.early) == (recipe.late, not recipe.late)
    assert detector.encoder.gating == recipe.gating
    assert detector.relation_decoder.query == recipe.query
    for part in (detector.encoder, detector.entity_decoder, detector.relation_decoder):
        assert part.get("dropout", 0.0) == recipe.dropout
        assert part.get("feedforward_dim", 2048) == recipe.feedforward
    assert config.backbone.module.get("drop_path_rate") == recipe.drop_path
    for key, value in recipe.data.items():
        assert config.data[key] == value
    assert (tuple(config.data.corpora) if "corpora" in config.data else None) == recipe.corpora
    if recipe.texts:
        assert config.data.text_sampling == "freq"


@pytest.mark.parametrize("recipe", TRAINING, ids=str)
def test_what_all_training_scripts_share(recipe):
    config = composed(*f"experiment={recipe.overrides}".split())
    model = config.model
    assert config.trainer.gradient_clip_val == 0.1
    assert config.trainer.precision == "32-true"
    assert config.seed == 42
    assert (model.optimizer._target_, model.optimizer.weight_decay) == ("torch.optim.AdamW", 1e-4)
    assert dict(model.lr_ratios) == {"backbone": 0.1, "text_encoder": 0.1}
    assert model.cut_queries == "official"
    assert model.dense_steps == 0
    assert not {"dense", "denoising"} & {key for key, value in model.detector.items() if value is not None}
    assert model.detector.text_padding_mask == "official"
    assert model.detector.encoder.fusion_padding_mask == "official"


@pytest.mark.parametrize(("script", "overrides", "init"), ZERO_SHOT, ids=[row[0] for row in ZERO_SHOT])
def test_zero_shot_scripts(script, overrides, init):
    config = composed(*f"experiment=hico_zeroshot_nf {overrides}".split())
    assert config.model.init == init
    assert not config.train
    assert config.data.eval_batch_size == 16
    assert config.model.postprocess.subject_filter
    assert config.model.postprocess.mode == "hoi"
    assert config.model.detector.subject_class
    assert config.model.detector.queries.num_pairs == 100


FILES = {
    "vg": ("data/vg", None, None),
    "coco": (
        "data/coco",
        "annotations/RLIPv2_train2017_threshold20_Tagger2_Noi24_20e_Xattnmask_SceneGraph_model_large_caption_nucleus10_"
        "thre05.json",
        None,
    ),
    "objects365": (
        "data/objects365",
        "rel_annotations/RLIPv2_o365trainval_Tagger2_Noi24_20e_Xattnmask_SceneGraph_model_large_caption_nucleus10_"
        "thre05_1234_4.json",
        "image_id_to_filepath.json",
    ),
    "hico": ("data/hico_20160224_det", "annotations/trainval_hico_vg_format.json", None),
}
DIRECT_FILE = "annotations/RLIPv2_train2017_pseudo-labels_SceneGraph_model_large_caption_nucleus10_thre20.json"
MIXTURES = ["vg_coco", "vg_coco_o365", "vg_coco_direct", "vg_hico", "vg_coco_hico", "vg_coco_o365_hico"]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_mixtures_read_the_official_files_and_count_names_in_them(mixture):
    config = composed(f"experiment=rlip_{mixture}")
    files = FILES | ({"coco": ("data/coco", DIRECT_FILE, None)} if mixture.endswith("direct") else {})
    for name, settings in config.data.corpora.items():
        assert (settings.root, settings.annotations, settings.get("image_paths")) == files[name]
        assert not settings.exclude_ids
    assert (config.data.root, config.data.names) == (None, None)


@pytest.mark.parametrize("experiment", [name for name in test_config.EXPERIMENTS if name.startswith("rlip_")])
def test_pre_training_measures_nothing(experiment):
    config = composed(f"experiment={experiment}")
    assert not config.test
    assert config.data.held_out == 0
    assert config.callbacks.best.monitor is None
    assert config.model.postprocess.mode == "scene_graph"
    assert config.name == experiment


def test_the_best_tagger_is_told_by_its_own_figure():
    assert composed("experiment=tagger_vg").callbacks.best.monitor == "val/tagging_accuracy"


def test_the_noise_of_the_taggers():
    """The scripts of Swin taggers leave the noise at its defaults, that of ResNet-50 has more."""
    for experiment, noise in (("tagger_vg", (0.2, 0.4)), ("tagger_vg_noise36", (0.3, 0.6))):
        queries = composed(f"experiment={experiment}").model.detector.queries
        assert (queries.label_noise, queries.box_noise) == noise


@pytest.mark.parametrize("experiment", ["hico_full", "vcoco_full"])
def test_fine_tuned_subjects_are_labelled_as_officially(experiment):
    assert composed(f"experiment={experiment}").data.subject_label == 1


def test_scene_graphs_score_subjects_and_persons_do_not():
    assert composed("experiment=oi_sgg_full").model.postprocess.mode == "scene_graph"
    assert composed("experiment=vcoco_full").model.postprocess.mode == "hoi"
    assert composed("experiment=oi_sgg_full").data.subject_label is None
