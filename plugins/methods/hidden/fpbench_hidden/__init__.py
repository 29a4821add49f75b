"""HiDDeN: codes put into finished images."""
