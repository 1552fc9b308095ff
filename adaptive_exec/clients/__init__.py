"""What fits this package into other ecosystems, one file each; none is loaded unasked."""
