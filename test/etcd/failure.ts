// What a promise fails with. Not by expect(promise).rejects: it waits within the runner's own turn, where HTTP/2 does not get on.

export async function failureOf(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => new Error(`it did not fail, but gave ${Bun.inspect(value)}`),
    (error: unknown) => error,
  );
  return outcome instanceof Error ? outcome : new Error(`not an Error: ${Bun.inspect(outcome)}`);
}
