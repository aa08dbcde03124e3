"""Every key that the project adds to a yacs config, once, with its default and its meaning.

Nothing is imported here: :func:`add_plugtrack_config` takes detectron2's config (or any yacs node
with MODEL, INPUT, DATASETS, SOLVER and TEST) and makes its new nodes of the same class. A host
without detectron2 has no config to add to: :func:`add_torchvision_config` fills an empty node.
Sections are those of the paper.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yacs.config import CfgNode


def add_plugtrack_config(cfg: "CfgNode") -> None:
    """Add the keys of the tracker, of pairs, of video inference and of evaluation to ``cfg``."""
    node = type(cfg)

    # The framework of the detector, said by a config file itself (not by its _BASE_).
    cfg.HOST = "detectron2"

    # A config of detectron2's model zoo that comes before all others, below _BASE_ as well, such as
    # COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml. "": none.
    cfg.ZOO = ""

    # ---- Datasets --------------------------------------------------------------------------
    # True: the first bad file, row, object or image is an error. False: it is left out, counted,
    # and said in a summary.
    cfg.DATASETS.STRICT = False
    # The dataset whose class names are the detector's. "": the first of TEST, where it has as many.
    cfg.DATASETS.CLASSES = ""

    # ---- Tracker head (Sec. 4) -------------------------------------------------------------
    cfg.MODEL.PLUGTRACK = node()
    # Name in TRACKER_HEADS.
    cfg.MODEL.PLUGTRACK.NAME = "build_regression_tracker"
    # The detector's maps that the tracker works on, and which of them gives the common size
    # (Figs. 9 and 10; FPN: the middle three of five levels at the middle one's size).
    cfg.MODEL.PLUGTRACK.IN_FEATURES = ["p3", "p4", "p5"]
    cfg.MODEL.PLUGTRACK.TARGET_INDEX = 1
    # Filters of the tracker's convolutions.
    cfg.MODEL.PLUGTRACK.CONV_DIM = 256
    # Batch norm: "BN", or "SyncBN", over the regions of all training processes (detectron2).
    cfg.MODEL.PLUGTRACK.NORM = "BN"
    # Bins of the template, and k: the search window is k times the box (Fig. 4).
    cfg.MODEL.PLUGTRACK.POOLER_RESOLUTION = 7
    cfg.MODEL.PLUGTRACK.SEARCH_FACTOR = 3
    # Inverse standard deviations of dx, dy, dw, dh (Eqs. 1 and 2).
    cfg.MODEL.PLUGTRACK.BBOX_REG_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
    # Smooth L1 of both losses, and the weight of the IoU loss beside the box loss.
    cfg.MODEL.PLUGTRACK.SMOOTH_L1_BETA = 1.0
    cfg.MODEL.PLUGTRACK.IOU_LOSS_WEIGHT = 1.0
    # Training regions (Eq. 3): candidates per object, the cap on those kept, and the IoU test.
    # "at_least": IoU with the best object >= threshold, the cap is per image, true boxes are
    # added. "below": IoU with the own object < threshold, the cap is per object (as printed).
    cfg.MODEL.PLUGTRACK.REGIONS_PER_OBJECT = 256
    cfg.MODEL.PLUGTRACK.REGIONS_LIMIT = 128
    cfg.MODEL.PLUGTRACK.REGION_IOU_TEST = "at_least"
    cfg.MODEL.PLUGTRACK.REGION_IOU_THRESH = 0.5

    # ---- The tiny detector's backbone ------------------------------------------------------
    cfg.MODEL.TINY_RESNET = node()
    # Channels of the stem (stride 4) and of res2, res3, ...; basic blocks of each stage.
    cfg.MODEL.TINY_RESNET.CHANNELS = [24, 32, 64, 96]
    cfg.MODEL.TINY_RESNET.BLOCKS_PER_STAGE = 1

    # ---- The light detector's backbone (Fig. 9) --------------------------------------------
    cfg.MODEL.HRNET = node()
    # timm's name.
    cfg.MODEL.HRNET.NAME = "hrnet_w32"
    # "FrozenBN" (ImageNet's statistics, kept), "BN" or "SyncBN" (torch's: on GPUs only).
    cfg.MODEL.HRNET.NORM = "FrozenBN"

    # ---- Pairs of frames (Sec. 6.2, video training) ----------------------------------------
    cfg.INPUT.PAIR = node()
    # The gap in frames is uniform between these, clamped in videos that are too short.
    cfg.INPUT.PAIR.MIN_GAP = 1
    cfg.INPUT.PAIR.MAX_GAP = 9
    # How often the later frame comes first.
    cfg.INPUT.PAIR.REVERSE_PROB = 0.5

    # ---- Optimizer -------------------------------------------------------------------------
    # "SGD" (the paper, all of detectron2's SOLVER keys) or "AdamW" (BASE_LR, WEIGHT_DECAY).
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Parts in which every process works on its share of IMS_PER_BATCH, one after another, for a
    # step; for less memory (detectron2). Iterations count steps.
    cfg.SOLVER.ACCUMULATE = 1

    # ---- Video inference (Sec. 5) ----------------------------------------------------------
    # Per frame: what the stock detector reports, for the rows without tracking-first detection.
    cfg.TEST.PER_FRAME = node()
    cfg.TEST.PER_FRAME.SCORE_THRESH = 1e-3
    cfg.TEST.PER_FRAME.NMS_THRESH = 0.45

    cfg.TEST.TFD = node()
    # False: boxes are those of TEST.PER_FRAME.
    cfg.TEST.TFD.ENABLED = True
    # False: detections are refined and classified again, but nothing is tracked (a control).
    cfg.TEST.TFD.TRACK = True
    # Detected objects: best-class score above this, class-agnostic NMS.
    cfg.TEST.TFD.SCORE_THRESH = 0.03
    cfg.TEST.TFD.NMS_THRESH = 0.45
    # Tracked objects: predicted IoU of at least this (the reference: 0.7), NMS by it.
    cfg.TEST.TFD.IOU_SCORE_THRESH = 0.5
    cfg.TEST.TFD.TRACK_NMS_THRESH = 0.7
    # T_merge: a detection stays if it overlaps tracked objects by less (the paper: 0.7, 0.3).
    cfg.TEST.TFD.MERGE_THRESH = 0.7
    # Boxes of a frame, here and in TEST.PER_FRAME, best class score first.
    cfg.TEST.TFD.MAX_BOXES = 300

    # ---- Re-scoring a video (Sec. 6.4) -----------------------------------------------------
    cfg.TEST.SEQ_NMS = node()
    # False: scores stay as they are.
    cfg.TEST.SEQ_NMS.ENABLED = True
    # True: Seq-Track-NMS, links start at the tracked boxes. False: Seq-NMS.
    cfg.TEST.SEQ_NMS.TRACK_LINKS = True
    # Links join boxes of at least LINK_IOU; NMS_IOU is for the boxes beside a path; paths of a
    # smaller sum of scores than MIN_SCORE are not taken.
    cfg.TEST.SEQ_NMS.LINK_IOU = 0.5
    cfg.TEST.SEQ_NMS.NMS_IOU = 0.45
    cfg.TEST.SEQ_NMS.MIN_SCORE = 0.01
    # Whole megabytes of an unfinished video, and of its objects, that are kept in memory; where
    # there are more, they go to temporary files in OUTPUT_DIR (made when needed; nothing stays).
    cfg.TEST.SEQ_NMS.MEMORY_MB = 512

    # ---- Speed of the detector in video inference ------------------------------------------
    # Backbone and heads only; training takes no notice (SOLVER.AMP is training's). Boxes and
    # probabilities are computed in float32, and all of the tracker is.
    cfg.TEST.SPEED = node()
    # "float32", or mixed precision: "bf16" or "fp16". Where a CPU has no instructions for them
    # they are slower (fp16: most CPUs, ten times and more).
    cfg.TEST.SPEED.PRECISION = "float32"
    # True: weights in channels-last memory format.
    cfg.TEST.SPEED.CHANNELS_LAST = False
    # True: the backbone and the RPN's head by torch.compile, at first and for the first few other
    # sizes of images and batches; each takes seconds (on a CPU a minute, an HRNet several). Needs a
    # C++ compiler on the CPU, Triton on CUDA.
    cfg.TEST.SPEED.COMPILE = False

    # ---- Evaluation ------------------------------------------------------------------------
    cfg.TEST.VID = node()
    # "offline": TEST.SEQ_NMS re-scores whole videos (the paper). "online": every frame as it comes,
    # from its past alone, along the tracker's links; TRACK_LINKS does not count then, LINK_IOU does
    # where the tracker let go (tracked boxes and new detections), MIN_SCORE for the new score.
    cfg.TEST.VID.MODE = "offline"
    # How mAP is counted: "fgfa" (the papers of Table 1), "mega" or "coco" (AP50 of COCO); what
    # sets them apart is in core/protocols.py.
    cfg.TEST.VID.PROTOCOL = "fgfa"
    # The published motion values of ImageNet VID's validation set, a MATLAB file, for slow, medium
    # and fast objects. "": computed from track ids, for any dataset.
    cfg.TEST.VID.MOTION_FILE = ""
    # Detections that count, after re-scoring: score at least this, the best so many of a frame.
    cfg.TEST.VID.SCORE_FLOOR = 1e-3
    cfg.TEST.VID.DETECTIONS_PER_FRAME = 300


def add_torchvision_config(cfg: "CfgNode") -> None:
    """Fill an empty node with what torchvision's detectors need, detectron2's names where it can.

    The project's own keys are added as well.
    """
    node = type(cfg)
    # Of everything that is random; -1 draws one.
    cfg.SEED = 0
    # Where training writes, and where long videos wait for their end (TEST.SEQ_NMS.MEMORY_MB).
    cfg.OUTPUT_DIR = "output"
    for name in ("MODEL", "INPUT", "DATASETS", "DATALOADER", "SOLVER", "TEST"):
        cfg[name] = node()

    # A name of hosts/torchvision_models.py, or any Faster or Mask R-CNN of
    # torchvision.models.list_models(torchvision.models.detection).
    cfg.MODEL.NAME = "tiny_fasterrcnn"
    # Foreground classes.
    cfg.MODEL.NUM_CLASSES = 8
    # A weights file of this project, of the detector alone or with a tracker.
    cfg.MODEL.WEIGHTS = ""
    # "" chooses CUDA where there is one.
    cfg.MODEL.DEVICE = ""

    # Shorter and longer side of the network's input, in training and in testing.
    cfg.INPUT.MIN_SIZE_TEST = 800
    cfg.INPUT.MAX_SIZE_TEST = 1333
    cfg.DATASETS.TRAIN = []
    cfg.DATASETS.TEST = []
    cfg.DATALOADER.NUM_WORKERS = 0

    # AdamW: rising to BASE_LR over WARMUP_ITERS, then a cosine down to nothing.
    cfg.SOLVER.IMS_PER_BATCH = 8
    cfg.SOLVER.MAX_ITER = 1000
    cfg.SOLVER.WARMUP_ITERS = 100
    cfg.SOLVER.BASE_LR = 0.002
    cfg.SOLVER.WEIGHT_DECAY = 0.01
    # Largest norm of the gradient.
    cfg.SOLVER.CLIP_VALUE = 5.0
    # Steps between checkpoints, in OUTPUT_DIR; training can go on from the last (--resume).
    cfg.SOLVER.CHECKPOINT_PERIOD = 1000

    add_plugtrack_config(cfg)
    cfg.HOST = "torchvision"
    # Names as torchvision's FPN gives them: strides 8, 16 and 32.
    cfg.MODEL.PLUGTRACK.IN_FEATURES = ["1", "2", "3"]
