"""The torch side of limnet: the networks as they are trained and exported. Needs the extra `train`."""
