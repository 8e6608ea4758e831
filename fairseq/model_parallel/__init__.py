"""Where training programs look for Megatron's trainer. Models split over devices are not supported."""
