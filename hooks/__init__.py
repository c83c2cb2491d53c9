"""What the model computed: load, stages, capture, tokens and pooling, store, extract. Sees no label."""
