"""What a person woken by a rule needs to know, rule by rule, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guide:
    """One page. `panels` name the observables to look at; `looks` says that the image itself may deceive."""

    name: str
    title: str
    meaning: str
    impact: str
    diagnosis: tuple[str, ...]
    mitigation: tuple[str, ...]
    panels: tuple[str, ...]
    looks: bool = False


_HOST = "Look at load, memory, temperature and errors of the inference host since the time that the alert names."
_DEPLOYED = "Was a version or a setting deployed right before it? The blue marks on every dashboard say so."
_BACK = (
    "If a deployment did it: `monitor release` goes back to the version before; thresholds and baseline come along."
)
_FRAMES = "Look at the frames that the alert names, beside frames of the baseline's time."
_ACCEPT = "If the change is here to stay and the model is right on it: `monitor baseline accept`, with a reason."
_LABEL = "Send the frames to labelling; they belong into the next training set and into the challenge set."
_LATE = "Results come too late to act on: the object has left the place where it could be sorted out or stopped."
_BLIND = "Nobody is told of what happens meanwhile; frames that senders keep are taken in later, nothing is lost."

READY_GUIDES = (
    Guide(
        "latency-high",
        "Latency above twice its baseline",
        "The mean latency of a window lies above the contract's multiple of what it was over the baseline.",
        _LATE,
        (_HOST, _DEPLOYED, "One camera alone: its network and its image size. All of them: the host."),
        ("Take load off the host, or restart the service that holds the GPU.", _BACK),
        ("latency", "latency-p95-now", "cameras-latency", "queue-depth"),
    ),
    Guide(
        "error-rate",
        "Error rate above its bound",
        "More frames ended in an error than the contract allows, and the interval says that it is not chance.",
        "Those frames were not judged at all: defects on them went through unseen.",
        (
            "Read the kinds of errors: time-outs point at the host, decoding errors at the camera or its network.",
            _DEPLOYED,
            _HOST,
        ),
        ("Mend what the leading kind of error names.", "Have what passed meanwhile inspected by hand.", _BACK),
        ("error-rate", "error-rate-now", "error-kinds", "cameras"),
    ),
    Guide(
        "queue-growing",
        "The queue grows",
        "The longest queue of the window is longer than the contract's multiple of the baseline's.",
        _LATE,
        ("Are more frames sent than usual, or is each slower? Hold throughput and latency side by side.", _HOST),
        ("Slow the senders down or add a worker.", _BACK),
        ("queue-depth", "queue-depth-now", "throughput", "latency"),
    ),
    Guide(
        "camera-silent",
        "A camera is silent",
        "A camera has sent nothing for longer than its own habit explains, in hours in which it usually sends.",
        "What passes that camera is inspected by nobody.",
        (
            "Does the line run? Ask, or look at its neighbours.",
            "Camera, cable, switch, then the sender of its logs.",
            "`monitor rejects list`: are its frames set aside because its name has changed?",
        ),
        (
            "Bring camera or sender back; logs that were kept are taken in by themselves.",
            "A camera that was taken down for good: take it out of the contract.",
        ),
        ("silent-cameras", "throughput", "sources"),
    ),
    Guide(
        "class-share-shift",
        "The mix of classes has shifted",
        "A class makes up more or less of the detections than the contract's part of its share in the baseline.",
        "Either production makes something else, or the model takes one thing for another.",
        (
            "Hold it against the plan of production: a changed plan explains it.",
            _FRAMES,
            _DEPLOYED,
            "Has the override rate of that class moved too? Then it is the model.",
        ),
        (_LABEL, _ACCEPT, _BACK),
        ("class-shares", "classes", "override-classes"),
        looks=True,
    ),
    Guide(
        "confidence-drop",
        "The model is less sure",
        "The mean confidence of a class lies below the contract's part of what it was over the baseline.",
        "Detections slip under the threshold: misses come first, and nobody sees them.",
        (
            _FRAMES,
            "Did brightness, sharpness or contrast move with it? Then it is the image.",
            "Did they not? Then it is the product, or a deployment.",
            _DEPLOYED,
        ),
        ("Image: clean, light, focus.", _LABEL, _BACK),
        ("confidence", "classes", "cameras-confidence", "drift-image"),
        looks=True,
    ),
    Guide(
        "low-confidence-spike",
        "A spike of uncertain detections",
        "The share of detections with a confidence under 0.5 has passed the contract's multiple of the baseline's.",
        "Something stands before the cameras that the model half knows: false alarms and misses rise together.",
        (_FRAMES, "Look at the histogram of confidences: two humps mean that a part of the input is new."),
        (_LABEL, "Until the model knows it: raise or lower the threshold of that class by its stated costs."),
        ("low-confidence", "confidence-histogram", "classes"),
        looks=True,
    ),
    Guide(
        "override-rate",
        "People correct the model too often",
        "The share of all detections that people would correct, estimated from reviews whose choice is"
        " known, is above"
        " the bound with its whole interval.",
        "This is the nearest thing to accuracy in production: the model is wrong that often.",
        (
            "Which class, which camera, which kind of correction?",
            _FRAMES,
            "Has the rule for disputed cases changed, or who reviews? Two people on the same frames say so.",
            _DEPLOYED,
        ),
        (_BACK, _LABEL, "Retrain when the report of the queue says that there is enough."),
        ("override-rate", "honest", "directions", "override-classes"),
        looks=True,
    ),
    Guide(
        "override-rate-class",
        "One class is corrected too often",
        "The same estimate, of one class, is above the bound with its whole interval.",
        "Findings of that class are not to be relied on.",
        ("Look at what it is taken for: the table by class and the kinds of correction.", _FRAMES),
        ("Raise the threshold of that class until it is mended, if false alarms cost more than misses.", _LABEL),
        ("override-classes", "directions", "override-bands"),
        looks=True,
    ),
    Guide(
        "override-rate-raw",
        "The raw override rate is high",
        "Among the reviewed detections more were corrected than the bound. Where unsure frames are reviewed"
        " more often"
        " this is higher than the truth, so it informs and does not page.",
        "Perhaps none: hold it against the estimate over all detections.",
        ("Are the reviews of that time chosen by chance, or were they the unsure ones?",),
        ("Review more frames chosen at random, so that the estimate can be made.",),
        ("override-rate", "honest", "reviewed-now"),
    ),
    Guide(
        "work-order-rate",
        "Work orders outside their usual range",
        "More, or fewer, work orders for 1,000 frames than the contract's multiples of the baseline.",
        "Fewer: people no longer act on findings. More: the plant, or the model, has changed.",
        (
            "Ask maintenance whether the orders were justified.",
            "Did overrides rise with them? Then findings are wrong.",
            "Do events still arrive? See when the last came in.",
        ),
        ("Settle with maintenance what is to become an order.", "Mend the sender of events if they stopped."),
        ("work-orders", "work-orders-now", "override-rate"),
    ),
    Guide(
        "false-alarm-minutes",
        "False alarms cost more time",
        "A false alarm takes people longer than the contract's multiple of what it took before.",
        "The gain of the whole system shrinks, and people begin to wave findings through.",
        ("Ask the line what the last ones looked like, and why they took long.", _FRAMES),
        (
            "Show the people at the line what they need to decide faster.",
            "Raise the threshold of the class that leads.",
        ),
        ("false-alarm-minutes", "business-cameras", "override-bands"),
    ),
)

INCIDENT_GUIDES = (
    Guide(
        "incident-optics",
        "Incident: optics",
        "Brightness, contrast, sharpness or colour moved away from their season: light, lens, glass or camera.",
        "The model sees other images than it was trained on. Precision often goes before confidence does.",
        (
            "All cameras of a hall together: the light of the site. One camera: its lamp, its lens, its glass.",
            "Bit by bit: a lamp ages, dirt settles. At once: a lamp failed, a setting or a lens changed.",
            _FRAMES,
        ),
        ("Clean, replace the lamp, set focus and exposure as they were.", _ACCEPT),
        ("incidents", "brightness", "sharpness", "contrast"),
        looks=True,
    ),
    Guide(
        "incident-content",
        "Incident: content",
        "What is before the cameras changed: the mix of classes, how many objects, how large they look.",
        "Either production changed, which is no fault, or objects are missed or made up.",
        ("Hold it against the plan of production.", "Boxes larger or smaller: was the camera moved?", _FRAMES),
        (_LABEL, "Put the camera back where it was.", _ACCEPT),
        ("incidents", "class-shares", "detections", "box-area"),
        looks=True,
    ),
    Guide(
        "incident-model",
        "Incident: model",
        "The model's confidence or the corrections by people moved, whatever the images did.",
        "The model is wrong more often, or about to be.",
        (_DEPLOYED, _FRAMES, "Score the golden set: the same answers mean that the world changed, not the model."),
        (_BACK, _LABEL),
        ("incidents", "confidence", "override-rate", "golden-map"),
        looks=True,
    ),
    Guide(
        "incident-service",
        "Incident: service",
        "Latency, queues or errors moved away from their season.",
        _LATE,
        (_HOST, _DEPLOYED),
        ("Take load off the host, or restart what holds the GPU.", _BACK),
        ("incidents", "latency", "queue-depth", "error-rate"),
    ),
)

_SCORED = ("versions", "golden-map", "golden-classes")
GOLDEN_GUIDES = (
    *(
        guide
        for kind in ("golden", "challenge")
        for guide in (
            Guide(
                f"{kind}-not-scored",
                f"The {kind} set was not scored",
                "The run of last night failed, or ran elsewhere than the contract demands (a CPU in the"
                " place of a GPU).",
                "Nothing says today whether the model is the one that was accepted.",
                ("The alert's sentence names the reason.", "`monitor golden run` by hand shows it again."),
                ("Mend what it names; a run counts only on the provider and the files that the contract names.",),
                _SCORED,
            ),
            Guide(
                f"{kind}-answer-changed",
                f"The {kind} set was answered otherwise",
                "The same model gave other answers for the same images than the run before.",
                "The runtime, a driver, a decoder or the preprocessing has changed; production may be hit too.",
                ("The alert names what changed between the two environments.", "Has the host been updated?"),
                ("Go back to the environment before, or accept the new one with a run that meets every criterion.",),
                _SCORED,
            ),
            Guide(
                f"{kind}-accuracy",
                f"The {kind} set falls short of what is asked",
                "At least one criterion of the contract does not hold with the near end of its interval, or the"
                " version fell against what it reached before on the same images.",
                "That version must not be released; if it is in production, it must not stay there.",
                ("`monitor golden gate` lists every cell with its interval and n.", _DEPLOYED),
                (
                    _BACK,
                    "Train again with more of what fails.",
                    "A fall stays on until what was before is back; `monitor alerts resolve` takes what is now for"
                    " what shall be.",
                ),
                ("demands", *_SCORED),
            ),
        )
    ),
    Guide(
        "input-parity",
        "Production makes other inputs than scoring",
        "For the same frames the tensor that production feeds the model differs from the one that scoring makes.",
        "The model runs on inputs that it was never tested on: every number of the golden set is about"
        " another model.",
        ("The alert names the fields: size, colour order, scaling, interpolation, decoder.", _DEPLOYED),
        (
            "Bring production's preprocessing to the contract's [input], or the contract to production and"
            " score again.",
        ),
        _SCORED,
    ),
)
