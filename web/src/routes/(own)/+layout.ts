import { loadOwn } from '#lib/text.ts'

export async function load({ parent }: { parent: () => Promise<unknown> }): Promise<void> {
  await parent()
  await loadOwn()
}
