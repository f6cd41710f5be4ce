"""Encoders and decoders: the layers on either side of the bottleneck. No losses and no code units here."""
