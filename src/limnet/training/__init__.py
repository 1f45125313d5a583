"""How the networks are trained: cases, clips, losses, steps and one loop. Needs the extra `train`."""
