"""Networks that were made elsewhere: their descriptions, and what answers for them."""
