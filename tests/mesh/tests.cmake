penstock_test(mesh/mesh_test LABELS unit)
