"""What cooperates to give one answer or action: arrays in, arrays out."""
