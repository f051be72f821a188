"""Commands over a serial console (pyserial), whatever else is printed on it."""
