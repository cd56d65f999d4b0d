penstock_test(model/partition_test LABELS unit)
penstock_test(model/model_shape_test LABELS unit)
penstock_test(model/gpt2_parameters_test LABELS unit)
penstock_test(model/linear_shapes_test LABELS unit)
