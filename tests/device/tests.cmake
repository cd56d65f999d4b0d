penstock_test(device/memory_test LABELS unit)
penstock_test(device/queue_test LABELS unit)
penstock_test(device/device_place_test LABELS unit)
penstock_test(device/node_memory_test LABELS unit)
