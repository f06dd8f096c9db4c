// A small memory of what was unpacked last, so that a phone never holds the whole file twice.

/** Remembers the promises of the `limit` values used last. A failed value is forgotten. */
export class Cache<K, V> {
  private readonly kept = new Map<K, Promise<V>>();

  constructor(
    private readonly limit: number,
    private readonly make: (key: K) => Promise<V>,
  ) {}

  get(key: K): Promise<V> {
    const found = this.kept.get(key) ?? this.make(key);
    this.kept.delete(key);
    this.kept.set(key, found);
    found.catch(() => this.kept.delete(key));
    if (this.kept.size > this.limit) this.kept.delete(this.kept.keys().next().value as K);
    return found;
  }

  get size(): number {
    return this.kept.size;
  }
}
