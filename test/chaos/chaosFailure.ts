/** A run that has shown something wrong, or that could not go on; its message has all there is to know. */
export class ChaosFailure extends Error {
  override readonly name = "ChaosFailure";
  /** How many transfers are not what they must be. */
  readonly inconsistencies: number;

  constructor(message: string, inconsistencies = 0) {
    super(message);
    this.inconsistencies = inconsistencies;
  }
}
