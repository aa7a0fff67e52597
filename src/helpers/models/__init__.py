"""The networks: codec, vocoder, text encoder, denoiser with its trainer and sampler, CLAP; others' weights in `pretrained`."""
