"""The scaler: how many instances each function has, by load. It stands for KEDA and the HPA.

It asks the apiserver for replicas and starts nothing itself. Which label or annotation sets what, and which forbids
that a call wakes a function, is read in `testbed.model.scaling`. A call to a function at zero is held by the controller
(`controllers.hold`), which asks here (`activation`), or by the gateway (`testbed.platform.gateway.service.waking`),
which asks the apiserver as OpenFaaS's does.

Open `engine` first.

    process     the program
    engine      when to decide, what to remember, having it carried out
    keda        between none and some (pure)
    hpa         between one and many (pure)
    activation  from none to the first, at once, for a call that waits
    service     what is asked from outside, in one object
    rest        the same over HTTP
    meter       what each function's metrics are now
    metric      one metric, or that it could not be read (pure)
    rates       counters -> events a second (pure)
    sources     the counters of gateway and switches, CPU usage
    decisions   every decision with its reasons
"""
