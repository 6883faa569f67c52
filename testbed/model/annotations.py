"""The names by which a deployment speaks to the testbed: annotations, labels and the one secret with a meaning.

Names only. What they mean is read elsewhere: `stack_file` and the apiserver's validation read the testbed's own,
`scaling` those of KEDA and OpenFaaS.
"""

from __future__ import annotations

OWN_PREFIX = "directfaas/"
ROUTE_ANNOTATION = OWN_PREFIX + "route"
"""Of a namespace: how its calls travel (`cluster.Route`)."""
INGRESS_ANNOTATION = OWN_PREFIX + "ingress"
"""Of a function: whether it may be invoked from outside."""
CALLS_ANNOTATION = OWN_PREFIX + "calls"
"""Of a function: the functions of its application that it calls."""
NODE_ANNOTATION = OWN_PREFIX + "node"
"""Of a function: the nodes that its instances may run on (`placement`)."""
STORES_ANNOTATION = OWN_PREFIX + "stores"
"""Of a function: the stores of its namespace that it may reach (`datastores`)."""
FUNCTION_ANNOTATIONS = (INGRESS_ANNOTATION, CALLS_ANNOTATION, NODE_ANNOTATION, STORES_ANNOTATION)

KEDA_PREFIX = "autoscaling.keda.sh/"
PAUSED_ANNOTATION = KEDA_PREFIX + "paused"
MAX_REPLICAS_ANNOTATION = KEDA_PREFIX + "maxReplicaCount"

SCALE_PREFIX = "com.openfaas.scale."
MIN_SCALE_LABEL = SCALE_PREFIX + "min"
MAX_SCALE_LABEL = SCALE_PREFIX + "max"
SCALE_FACTOR_LABEL = SCALE_PREFIX + "factor"
SCALE_TYPE_LABEL = SCALE_PREFIX + "type"
SCALE_TARGET_LABEL = SCALE_PREFIX + "target"

GATEWAY_TOKEN = "gateway-token"
"""The secret that callers of a namespace's functions by the gateway must present, where there is one."""
