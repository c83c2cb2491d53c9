"""What can be read from activations: grouped splits, linear probes, controls and the sweep over sites."""
