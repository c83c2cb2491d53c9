"""What a model can be taught: one component at a time, with a proof that nothing else changed."""
