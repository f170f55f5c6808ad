"""Training of the networks that the detectors carry. torch is imported here and in the engines only."""
