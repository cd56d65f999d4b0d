penstock_test(config/deck_test LABELS unit)
penstock_test(config/field_table_test LABELS unit)
