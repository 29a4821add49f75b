"""How codes are drawn and whom a reading accuses. Letters: N readings, U users, K bits."""
