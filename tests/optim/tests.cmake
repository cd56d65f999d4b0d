penstock_test(optim/optimizer_config_test LABELS unit)
penstock_test(optim/optimizer_test RANKS 1 2 4 LABELS parity)
