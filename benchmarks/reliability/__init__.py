"""Proofs that nothing is lost, let in or left to chance; each script writes its rows and a section of docs/reliability.md."""
