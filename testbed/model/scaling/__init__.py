"""What a function's labels and annotations say of its scaling, in the words of KEDA, the HPA and OpenFaaS.

Settings only: what to do by them, the scaler decides (`testbed.platform.scaler`).

Which label or annotation does what? Open `annotations`. A call may wake any function but those that `waking` says: no
label is needed for it, some forbid it.

    annotations  labels and annotations -> settings, with every mistake named
    settings     the settings as values; the presets `keda` and `lab`
    waking       may a call start the first instance of a function?
"""
