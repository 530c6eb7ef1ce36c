"""What clients send: WebRTC, or the bytes of a file."""
