"""May a call start a function's first instance? The one rule, for whoever holds such a call. Pure.

The gateway and the scaler ask here. How many instances are started then, and what becomes of the call when none
may be, is theirs to say. A function is kept at none by two settings: `autoscaling.keda.sh/paused`, and a largest
number of instances of 0 (`autoscaling.keda.sh/maxReplicaCount`, or `com.openfaas.scale.max` without it). It costs
two look-ups: a call that waits need not have all settings read for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.model.annotations import MAX_REPLICAS_ANNOTATION, MAX_SCALE_LABEL, PAUSED_ANNOTATION


def may_wake(labels: Mapping[str, str], annotations: Mapping[str, str]) -> bool:
    """Whether a call may start the first instance of a function with these labels and annotations."""
    return why_not(labels, annotations) is None


def why_not(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str | None:
    """Why it may not, and what to do, to be said after the function's name; None: it may."""
    if annotations.get(PAUSED_ANNOTATION) == "true":
        return f"is paused; take its annotation {PAUSED_ANNOTATION} away"
    key = MAX_REPLICAS_ANNOTATION if MAX_REPLICAS_ANNOTATION in annotations else MAX_SCALE_LABEL
    largest = annotations.get(MAX_REPLICAS_ANNOTATION, labels.get(MAX_SCALE_LABEL, ""))
    if largest.isdecimal() and int(largest) == 0:
        return f"has a {key.rpartition('/')[2]} of 0; raise it"
    return None
