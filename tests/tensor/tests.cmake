penstock_test(tensor/shape_test LABELS unit)
penstock_test(tensor/dtype_test LABELS unit)
penstock_test(tensor/tensor_view_test LABELS unit)
penstock_test(tensor/arena_test LABELS unit)
