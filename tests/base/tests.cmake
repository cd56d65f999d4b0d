penstock_test(base/error_test LABELS unit)
penstock_test(base/median_test LABELS unit)
penstock_test(base/process_test LABELS unit)
penstock_test(base/random_test LABELS unit)
