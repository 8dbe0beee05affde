"""How the shipped models were made: data, autoencoder, denoiser with text encoder, small CLIP, measurements."""
