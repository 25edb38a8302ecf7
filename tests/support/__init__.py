"""What several test files share: inputs, servers, small networks."""
