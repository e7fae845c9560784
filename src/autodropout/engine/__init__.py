"""The search: searchers, the ledger, the loop. It sees tokens and rewards, never a tensor of a model."""
