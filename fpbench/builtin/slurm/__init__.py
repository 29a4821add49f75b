"""Batch jobs of a Slurm cluster."""
