"""CARRIES OUT: asks the core what follows from an event, and does it in order. Decides nothing."""
