penstock_test(checkpoint/run_guard_test LABELS unit)
penstock_test(checkpoint/damage_test LABELS unit)
penstock_test(checkpoint/checkpoint_test RANKS 1 2 4 LABELS exactness)
