"""Networks of timm and of transformers, by their names on the Hugging Face hub."""
