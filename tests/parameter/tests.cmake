penstock_test(parameter/box_test LABELS unit)
penstock_test(parameter/parameter_spec_test LABELS unit)
penstock_test(parameter/parameter_layout_test LABELS unit)
penstock_test(parameter/parameter_set_test LABELS unit)
