"""Functions are scaled: `test_scaling` under a `load` that rises and falls, `test_hold` from and to nothing."""
